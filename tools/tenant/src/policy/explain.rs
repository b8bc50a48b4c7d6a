//! `attestry policy explain`: a verdict in words for a person on call.

mod words;

use std::path::Path;

use ledger_protocol::{
    Entry, Kind,
    body::{Body, Verdict, VerdictResult},
};
use messages::FindingText;
use serde_json::{Value, json};
use tools_auditor::bundle::{Bundle, entry_path};

use super::{arguments::ExplainArguments, file, trial};
use crate::{failure::Failure, output::outln};

pub(super) fn run(arguments: &ExplainArguments) -> Result<(), Failure> {
    let source = &arguments.source;
    let verdicts = if source.is_dir() {
        of_bundle(source)?
    } else {
        let bytes = file::read(source)?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            vec![of_trial(&bytes, source)?]
        } else {
            vec![of_entry(&bytes, source.display().to_string())?]
        }
    };
    if arguments.json.json {
        let verdicts: Vec<Value> = verdicts.iter().map(Explained::to_value).collect();
        outln!("{}", json!({"verdicts": verdicts}));
    } else {
        verdicts.iter().for_each(Explained::print);
    }
    Ok(())
}

/// A verdict to explain.
struct Explained {
    /// Where it is from.
    place: String,
    recorded: Option<String>,
    result: String,
    findings: Vec<Found>,
}

/// A finding, as it was recorded. The text may quote evidence.
struct Found {
    component: String,
    event: String,
    is_failure: bool,
    text: FindingText,
}

impl Explained {
    fn print(&self) {
        let when = self.recorded.as_ref().map(|time| format!(", recorded {time}")).unwrap_or_default();
        outln!("{}{when}: {}", self.place, words::result(&self.result));
        for found in &self.findings {
            let words = words::of(&found.component, &found.event);
            let kind = if found.is_failure { "" } else { " (told only, not a failure)" };
            outln!("");
            outln!("* {}{kind}  [{}.{}]", words.headline, shown(&found.component), shown(&found.event));
            for (name, part) in [
                ("where:", found.text.place()),
                ("found:", Some(found.text.found())),
                ("expected:", found.text.expected()),
                ("layer:", found.text.layer()),
            ] {
                if let Some(part) = part {
                    outln!("  {name:<11} {}", shown(part));
                }
            }
            outln!("  it means:   {}", words.meaning);
            outln!("  what to do: {}", words.action);
        }
    }

    fn to_value(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|found| {
                let words = words::of(&found.component, &found.event);
                json!({
                    "component": found.component, "event": found.event, "failure": found.is_failure,
                    "text": found.text.to_string(), "place": found.text.place(), "found": found.text.found(),
                    "expected": found.text.expected(), "layer": found.text.layer(),
                    "headline": words.headline, "meaning": words.meaning, "action": words.action,
                })
            })
            .collect();
        json!({
            "place": self.place, "recorded": self.recorded, "result": self.result,
            "summary": words::result(&self.result), "findings": findings,
        })
    }
}

/// Quoted evidence without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn of_entry(bytes: &[u8], place: String) -> Result<Explained, Failure> {
    let entry = Entry::decode(bytes).map_err(|error| {
        Failure::system(format_args!("read {place} as a ledger entry"), error).remedy(
            "expected a verdict entry's CBOR (entries/<index>.cbor of a bundle), a bundle, or the JSON of `attestry policy try`",
        )
    })?;
    if entry.kind != Kind::Verdict {
        return Err(Failure::new(format!("{place} is an entry of kind {}, expected a verdict", entry.kind.name()))
            .remedy("to look at an entry of any kind: attestry inspect entry"));
    }
    let verdict = Verdict::decode(entry.body.as_slice())
        .map_err(|error| Failure::system(format_args!("read the verdict of {place}"), error))?;
    let result = match verdict.result {
        VerdictResult::Pass => "pass",
        VerdictResult::Fail => "fail",
        VerdictResult::Error => "error",
    };
    let findings = verdict.findings.into_iter().map(|finding| Found {
        component: finding.component,
        event: finding.event,
        is_failure: finding.severity >= SEVERITY_ERROR,
        text: FindingText::parse(&finding.text),
    });
    let recorded = i64::try_from(entry.recorded.0).ok().and_then(chrono::DateTime::from_timestamp_millis);
    Ok(Explained {
        place,
        recorded: recorded.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        result: result.to_owned(),
        findings: findings.collect(),
    })
}

/// The failed verdicts of a bundle, the last of them first; its last verdict if none failed.
fn of_bundle(folder: &Path) -> Result<Vec<Explained>, Failure> {
    let bundle = Bundle::open(folder).map_err(|error| {
        Failure::system("read the bundle", error).remedy("expected a folder as `attestry-audit export` makes it")
    })?;
    let mut explained = Vec::new();
    let mut last = None;
    let listed = bundle.manifest().entries.iter().rev().filter(|listed| listed.kind == Kind::Verdict.name());
    for listed in listed {
        let name = entry_path(listed.index);
        let bytes = bundle.read(&name).map_err(|error| Failure::system(format_args!("read {name}"), error))?;
        let verdict = of_entry(&bytes, format!("entry {} of the log", listed.index))?;
        if verdict.result != "pass" {
            explained.push(verdict);
        } else if last.is_none() {
            last = Some(verdict);
        }
        if explained.len() == VERDICTS_MAX {
            eprintln!("attestry: only the last {VERDICTS_MAX} failed verdicts are explained");
            break;
        }
    }
    if explained.is_empty() {
        explained.extend(last);
    }
    if explained.is_empty() { Err(Failure::new("the bundle has no verdict")) } else { Ok(explained) }
}

fn of_trial(bytes: &[u8], path: &Path) -> Result<Explained, Failure> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Failure::system(format_args!("read {} as JSON", path.display()), error))?;
    let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text(&value, "type") != trial::TYPE {
        return Err(Failure::new(format!("{} is no trial's JSON", path.display()))
            .remedy("expected what `attestry policy try --json` prints"));
    }
    let findings = value.get("findings").and_then(Value::as_array).into_iter().flatten().map(|finding| Found {
        component: text(finding, "component"),
        event: text(finding, "event"),
        is_failure: text(finding, "severity") != "warning",
        text: FindingText::parse(&text(finding, "text")),
    });
    let (place, result) = (path.display().to_string(), text(&value, "result"));
    Ok(Explained { place, recorded: None, result, findings: findings.collect() })
}

/// Whether a finding has words of its own.
#[cfg(test)]
pub(super) fn is_known(component: &str, event: &str) -> bool {
    words::of(component, event).headline != words::UNKNOWN.headline
}

/// `error` of Keylime's severity labels: what is below it does not fail a machine.
const SEVERITY_ERROR: u8 = 3;
/// Verdicts of a bundle that are explained: more than a person on call reads.
const VERDICTS_MAX: usize = 16;
