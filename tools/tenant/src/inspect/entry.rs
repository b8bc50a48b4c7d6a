//! A ledger entry, its body in the words of the specification.

use evidence::quote::Quote;
use ledger_history::census::Sums;
use ledger_protocol::{
    Entry, Kind,
    body::{
        AgentPolicy, Body, CensusBody, CheckpointBody, Enrol, Genesis, KeyRelease, Maintenance, Miss, NamedPolicy,
        OperatorAction, PolicyBody, QuoteBody, ReleasePhase, Retire, Revocation, ServiceStart, TimestampBody, Verdict,
        VerdictResult,
    },
};
use messages::{FindingText, cbor::CborError};
use serde_json::{Map, Value, json};
use verifier_protocol::appraisal::severity_label;

use super::time;
use crate::failure::Failure;

pub(super) fn inspect(bytes: &[u8]) -> Result<Value, Failure> {
    let entry = Entry::decode(bytes).map_err(|error| {
        Failure::system("read this as a ledger entry", error)
            .remedy("expected one entry's CBOR, e.g. entries/<index>.cbor of a bundle")
    })?;
    let body = body(&entry)
        .map_err(|error| Failure::system(format_args!("read the {} body of this entry", entry.kind.name()), error))?;
    Ok(json!({
        "kind": entry.kind.name(),
        "kind_number": entry.kind.number(),
        "agent": entry.agent.as_ref().map(|agent| agent.as_str()),
        "seq": entry.seq,
        "prev": entry.prev.to_string(),
        "recorded": time(entry.recorded.0),
        "recorded_ms": entry.recorded.0,
        "leaf_hash": Entry::leaf_hash(bytes).to_string(),
        "bytes": bytes.len(),
        "body": body,
    }))
}

fn body(entry: &Entry) -> Result<Value, CborError> {
    let bytes = entry.body.as_slice();
    Ok(match entry.kind {
        Kind::Genesis => {
            let Genesis { format, origin, vkey, created } = Genesis::decode(bytes)?;
            json!({"format": format, "origin": origin, "vkey": vkey, "created": time(created.0)})
        }
        Kind::Enrol => {
            let Enrol { slot, binding, ek_certificate, registrar } = Enrol::decode(bytes)?;
            let certificate = if ek_certificate == 0 { "verified" } else { "danger-unverified" };
            json!({"slot": slot, "binding": binding, "ek_certificate": certificate, "registrar": registrar})
        }
        Kind::Quote => quote(&QuoteBody::decode(bytes)?),
        Kind::Verdict => verdict(&Verdict::decode(bytes)?),
        Kind::KeyRelease => {
            let KeyRelease { phase, verdict, key_id, recipient, reason } = KeyRelease::decode(bytes)?;
            let phase = match phase {
                ReleasePhase::Authorised => "authorised",
                ReleasePhase::Delivered => "delivered",
                ReleasePhase::Withheld => "withheld",
                ReleasePhase::Revoked => "revoked",
            };
            json!({"phase": phase, "verdict": verdict, "key_id": key_id, "recipient": recipient, "reason": reason})
        }
        Kind::Checkpoint => {
            let CheckpointBody { tree_size, note } = CheckpointBody::decode(bytes)?;
            json!({"tree_size": tree_size, "note": note})
        }
        Kind::Policy => policy(&PolicyBody::decode(bytes)?),
        Kind::Miss => {
            let Miss { due, reason, attempts, text } = Miss::decode(bytes)?;
            json!({"due": time(due.0), "reason": format!("{reason:?}"), "attempts": attempts, "text": text})
        }
        Kind::Retire => {
            let Retire { actor, reason } = Retire::decode(bytes)?;
            json!({"actor": actor, "reason": reason})
        }
        Kind::OperatorAction => {
            let OperatorAction { action, actor, target, detail } = OperatorAction::decode(bytes)?;
            json!({"action": action, "actor": actor, "target": target, "detail": detail})
        }
        Kind::Revocation => {
            let Revocation { phase, verdict, channel, event, text } = Revocation::decode(bytes)?;
            json!({"phase": format!("{phase:?}"), "verdict": verdict, "channel": channel, "event": event, "text": text})
        }
        Kind::ServiceStart => {
            let ServiceStart { service, build, instance } = ServiceStart::decode(bytes)?;
            json!({"service": service, "build": build, "instance": instance})
        }
        Kind::Timestamp => {
            let TimestampBody { tree_size, note, token, tsa, gen_time } = TimestampBody::decode(bytes)?;
            json!({"tree_size": tree_size, "note": note, "token": token, "tsa": tsa, "gen_time": time(gen_time.0)})
        }
        Kind::Census => census(&CensusBody::decode(bytes)?),
        Kind::Maintenance => {
            let Maintenance { from, to, reason, actor } = Maintenance::decode(bytes)?;
            json!({"from": time(from.0), "to": time(to.0), "reason": reason, "actor": actor})
        }
        Kind::Unknown(_) => json!({"cbor": hex::encode(bytes)}),
    })
}

/// The sums in words where they are as long as they should be.
fn census(body: &CensusBody) -> Value {
    let CensusBody { prefix_size, sums, root, epoch } = body;
    let sums = match sums.as_slice().try_into().map(Sums::from_bytes) {
        Ok(Sums { agents, due, missed, oldest, worst_gap, quotes, fails, misses, resets, late }) => json!({
            "agents": agents,
            "due": due,
            "missed": missed,
            "oldest_last_quote": oldest_quote(oldest),
            "worst_gap_seconds": worst_gap,
            "quotes": quotes,
            "failed": fails,
            "misses": misses,
            "resets": resets,
            "late": late,
        }),
        Err(_) => json!({"malformed": hex::encode(sums)}),
    };
    json!({"epoch": epoch, "prefix_size": prefix_size, "root": root, "sums": sums})
}

/// The largest number stands for none.
fn oldest_quote(seconds: u64) -> Value {
    if seconds == u64::MAX { Value::Null } else { time(seconds.saturating_mul(1_000)) }
}

fn quote(body: &QuoteBody) -> Value {
    let mut pcrs = Map::new();
    for bank in &body.pcrs {
        let values: Map<String, Value> =
            bank.values.iter().map(|(index, value)| (index.to_string(), hex::encode(value).into())).collect();
        pcrs.insert(format!("{:#06x}", bank.alg), values.into());
    }
    let parsed = match Quote::parse(&body.attest, &body.signature) {
        Ok(quote) => {
            let clock = quote.clock_info();
            json!({
                "nonce": String::from_utf8_lossy(quote.extra_data()),
                "clock_ms": clock.clock_ms,
                "reset_count": clock.reset_count,
                "restart_count": clock.restart_count,
                "safe": clock.safe,
                "firmware_version": format!("{:016x}", quote.firmware_version()),
            })
        }
        Err(error) => json!({"malformed": error.to_string()}),
    };
    json!({
        "beacon": {"tree_size": body.beacon.tree_size, "note_digest": body.beacon.note_digest},
        "salt": body.salt,
        "attest": hex::encode(&body.attest),
        "signature": hex::encode(&body.signature),
        "quote": parsed,
        "pcrs": pcrs,
        "ima": {"from": body.ima.from, "count": body.ima.count, "delta": body.ima.delta},
        "boot_log": body.boot_log,
    })
}

fn verdict(body: &Verdict) -> Value {
    let result = match body.result {
        VerdictResult::Pass => "pass",
        VerdictResult::Fail => "fail",
        VerdictResult::Error => "error",
    };
    let finding = |f: &ledger_protocol::body::Finding| {
        let parts = FindingText::parse(&f.text);
        json!({
            "component": f.component, "event": f.event, "severity": f.severity,
            "severity_label": severity_label(f.severity), "text": f.text, "place": parts.place(),
            "found": parts.found(), "expected": parts.expected(), "layer": parts.layer(),
        })
    };
    json!({
        "quote": body.quote,
        "result": result,
        "findings": body.findings.iter().map(finding).collect::<Vec<_>>(),
        "policies": body.policies,
        "binding": body.binding,
        "appraiser": body.appraiser,
        "ima_state": {"count": body.ima_state.count, "running": hex::encode(&body.ima_state.running)},
    })
}

fn policy(body: &PolicyBody) -> Value {
    match body {
        PolicyBody::Agent(AgentPolicy {
            interval_ms,
            tolerance_ms,
            hash_algs,
            enc_algs,
            sign_algs,
            labels,
            policies,
            binding,
        }) => {
            let labels: Map<String, Value> = labels.iter().map(|l| (l.name.clone(), l.value.clone().into())).collect();
            let policies: Map<String, Value> =
                policies.iter().map(|p| (p.role.clone(), p.digest.to_string().into())).collect();
            json!({
                "scope": "agent", "interval_ms": interval_ms, "tolerance_ms": tolerance_ms, "hash_algs": hash_algs,
                "enc_algs": enc_algs, "sign_algs": sign_algs, "labels": labels, "policies": policies, "binding": binding,
            })
        }
        PolicyBody::Named(NamedPolicy { role, name, content, actor }) => {
            json!({"scope": "named", "role": role, "name": name, "content": content, "actor": actor})
        }
    }
}
