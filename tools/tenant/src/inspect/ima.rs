//! An IMA measurement list: what is in it, and the registers it could be the list of.

use evidence::{
    algorithm::Digest,
    ima::{ListSummary, Replay},
};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

pub(super) fn inspect(bytes: &[u8]) -> Result<Value, Failure> {
    let summary = ListSummary::of(bytes).map_err(|error| {
        Failure::system("read this as an IMA measurement list", error)
            .remedy("expected ascii_runtime_measurements or binary_runtime_measurements as the kernel writes them")
    })?;
    let violations: Vec<Value> =
        summary.violations.first.iter().map(|(entry, name)| json!({"entry": entry, "name": name})).collect();
    Ok(json!({
        "type": "IMA measurement list",
        "form": summary.form.name(),
        "template_digest_algorithm": summary.log_hash.name(),
        "entries": summary.entries,
        "templates": summary.by_template,
        "entries_by_pcr": counts(&summary),
        "violations": summary.violations.count,
        "first_violations": violations,
        "template_digest_mismatches": summary.mismatches.count,
        "first_template_digest_mismatches": summary.mismatches.first,
        "pcrs": {
            "recorded": registers(&summary, |replay| matches!(replay, Replay::Recorded(_))),
            "recorded_sha1_padded": registers(&summary, |replay| matches!(replay, Replay::RecordedPadded(_))),
            "recomputed": registers(&summary, |replay| matches!(replay, Replay::Recomputed(_))),
        },
        "note": "replayed from registers of zeros; recorded: the template digests as the list has them; recomputed: the template data hashed for each bank, as kernels from 5.8 on extend them; recorded_sha1_padded: as older kernels do. Nothing was judged",
    }))
}

fn counts(summary: &ListSummary) -> Map<String, Value> {
    summary.by_register.iter().map(|(pcr, count)| (pcr.to_string(), (*count).into())).collect()
}

/// `{"sha256": {"10": "hex"}}`: the registers of the replays that are `wanted`, by bank.
fn registers(summary: &ListSummary, wanted: impl Fn(&Replay) -> bool) -> Map<String, Value> {
    let mut banks = Map::new();
    for ((pcr, _), register) in summary.registers.iter().filter(|((_, replay), _)| wanted(replay)) {
        let bank = banks.entry(register.algorithm().name()).or_insert_with(|| Map::new().into());
        if let Some(bank) = bank.as_object_mut() {
            bank.insert(pcr.to_string(), hex(register).into());
        }
    }
    banks
}

fn hex(register: &Digest) -> String {
    hex::encode(register.as_bytes())
}

#[cfg(test)]
mod tests;
