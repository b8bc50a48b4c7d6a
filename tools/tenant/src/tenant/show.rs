//! Status in plain words and in JSON.

use messages::{
    AgentId, UnixMillis,
    keylime::{AgentStatus, AttestationStatus},
};

use crate::failure::Failure;
use crate::output::outln;

pub(super) fn status(agent: &AgentId, status: &AgentStatus, json: bool) -> Result<(), Failure> {
    if json {
        outln!("{}", as_json(agent, status)?);
        return Ok(());
    }
    outln!("{agent}: {}", verdict(status.attestation_status));
    if let Some(reason) = &status.reason {
        outln!("  why          {}", printable(reason));
    }
    outln!("  state        {:?} ({})", status.operational_state, status.operational_state as u8);
    outln!("  passed       {} attestations, every {}", status.attestation_count, printable(&status.attestation_period));
    if let Some(age) = status.quote_age_ms {
        outln!("  last quote   {}.{:03} s ago", age / 1_000, age % 1_000);
    }
    if let Some(event) = &status.last_event_id {
        outln!("  last failure {}", printable(event));
    }
    if let Some(finding) = &status.last_finding {
        let parts = [
            ("where", finding.place()),
            ("found", Some(finding.found())),
            ("expected", finding.expected()),
            ("layer", finding.layer()),
        ];
        for (name, part) in parts.iter().filter_map(|(name, part)| Some((name, (*part)?))) {
            outln!("    {name:<10} {}", printable(part));
        }
    }
    if let Some(key) = &status.key_state {
        outln!("  key          {}", printable(key));
    }
    for (name, value) in &status.labels {
        outln!("  label        {}={}", printable(name), printable(value));
    }
    for window in &status.maintenance {
        let (from, to) = (time(window.from), time(window.to));
        outln!("  maintenance  {from} to {to}: {}", printable(&window.reason));
    }
    if let Some(binding) = &status.binding {
        outln!("  binding      {binding}");
    }
    Ok(())
}

pub(super) fn list(all: &[(AgentId, AgentStatus)], json: bool) -> Result<(), Failure> {
    if json {
        let agents: Result<Vec<_>, _> = all.iter().map(|(agent, status)| as_json(agent, status)).collect();
        outln!("{}", serde_json::Value::from(agents?));
        return Ok(());
    }
    for (agent, status) in all {
        let key = status.key_state.as_deref().unwrap_or("-");
        outln!(
            "{agent:<40} {:<8} {:>8} passed  key {}",
            word(status.attestation_status),
            status.attestation_count,
            printable(key)
        );
    }
    if all.is_empty() {
        eprintln!("no machine is at the verifier; add one with: attestry tenant add AGENT");
    }
    Ok(())
}

fn as_json(agent: &AgentId, status: &AgentStatus) -> Result<serde_json::Value, Failure> {
    let failed = |error| Failure::system("write a status as JSON", error);
    let mut value = serde_json::to_value(status).map_err(failed)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("agent_id".to_owned(), agent.as_str().into());
    }
    Ok(value)
}

fn word(status: AttestationStatus) -> &'static str {
    match status {
        AttestationStatus::Fail => "FAIL",
        AttestationStatus::Pass => "PASS",
        AttestationStatus::Pending => "PENDING",
        AttestationStatus::Timeout => "TIMEOUT",
    }
}

fn verdict(status: AttestationStatus) -> &'static str {
    match status {
        AttestationStatus::Fail => "FAIL, not trusted",
        AttestationStatus::Pass => "PASS, trusted",
        AttestationStatus::Pending => "PENDING, not judged yet",
        AttestationStatus::Timeout => "TIMEOUT, its last pass is too old to count",
    }
}

/// RFC 3339 in UTC, to the second.
fn time(instant: UnixMillis) -> String {
    let time = i64::try_from(instant.0).ok().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(|| instant.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// A server's text on a terminal: without what could steer it.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
