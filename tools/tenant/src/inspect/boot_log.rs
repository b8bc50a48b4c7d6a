//! A boot event log: `binary_bios_measurements`, a Windows WBCL, or a CCEL table's log area.

use evidence::{
    algorithm::HashAlgorithm,
    boot_log::{BootLog, Event, EventDetails, ExaminedEvent, Replay, VariableValue},
    pcr::{PcrBank, PcrIndex},
};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

#[cfg(test)]
mod tests;

pub(super) fn inspect(bytes: &[u8]) -> Result<Value, Failure> {
    let log = BootLog::parse(bytes).map_err(|error| {
        Failure::system("read this as a boot event log", error)
            .remedy("expected a TCG event log such as /sys/kernel/security/tpm0/binary_bios_measurements")
    })?;
    let (mut banks, mut unavailable) = (Vec::new(), Vec::new());
    for bank in log.banks() {
        match (log.replay(bank), log.examine(bank)) {
            (Ok(replay), Ok(examined)) => banks.push(Bank { bank, replay, examined }),
            // A library may have an algorithm switched off, as FIPS providers have SM3.
            _ => unavailable.push(bank.to_string()),
        }
    }
    let pcrs: Map<String, Value> = banks.iter().map(|bank| (bank.bank.to_string(), bank.values())).collect();
    let gaps: Map<String, Value> = banks.iter().filter_map(Bank::gaps).collect();
    let events: Vec<Value> =
        log.events().iter().enumerate().map(|(number, event)| describe(number, event, &banks)).collect();
    Ok(json!({
        "type": "boot-log",
        "format": log.format().name(),
        "banks": log.banks().map(|bank| bank.to_string()).collect::<Vec<_>>(),
        "unavailable_banks": unavailable,
        "unknown_banks": unknown_banks(&log),
        "event_count": log.events().len(),
        "padding_bytes": log.padding_bytes(),
        "startup_locality": log.startup_locality(),
        "secure_boot": secure_boot(&banks),
        "pcrs": pcrs,
        "pcrs_stated_in_part": gaps,
        "events": events,
        "note": "as stated by the file; nothing was compared with a quote",
    }))
}

/// The `TPM_ALG_ID`s of banks whose digests cannot be replayed here.
fn unknown_banks(log: &BootLog<'_>) -> Vec<String> {
    let listed = log.spec_id().into_iter().flat_map(|header| &header.algorithms).map(|listed| listed.id);
    listed.filter(|id| HashAlgorithm::from_tpm_id(*id).is_none()).map(|id| format!("{id:#06x}")).collect()
}

struct Bank<'l, 'a> {
    bank: PcrBank,
    replay: Replay,
    examined: Vec<ExaminedEvent<'l, 'a>>,
}

impl Bank<'_, '_> {
    fn values(&self) -> Value {
        let values = self.replay.values().iter();
        values.map(|(index, value)| (index.to_string(), Value::from(value.to_string()))).collect()
    }

    /// Registers that some event extended without stating this bank's digest, with the first such event's number.
    fn gaps(&self) -> Option<(String, Value)> {
        let gap = |index: PcrIndex| Some((index.to_string(), Value::from(self.replay.gap(index)?.number)));
        let gaps: Map<String, Value> = PcrIndex::all().filter_map(gap).collect();
        (!gaps.is_empty()).then(|| (self.bank.to_string(), gaps.into()))
    }
}

/// What the SecureBoot variable says, if its digest bears it out.
fn secure_boot(banks: &[Bank<'_, '_>]) -> Option<bool> {
    banks.first()?.examined.iter().find_map(|event| match &event.details {
        EventDetails::Variable(variable) if event.is_covered_whole() && variable.name == "SecureBoot" => {
            match variable.value {
                VariableValue::Switch(is_on) => Some(is_on),
                _ => None,
            }
        }
        _ => None,
    })
}

fn describe(number: usize, event: &Event<'_>, banks: &[Bank<'_, '_>]) -> Value {
    let examined: Vec<&ExaminedEvent<'_, '_>> = banks.iter().filter_map(|bank| bank.examined.get(number)).collect();
    // One bank that contradicts the data is enough.
    let answers = || examined.iter().filter_map(|event| event.verified);
    let verified = if answers().any(|verified| !verified) { Some(false) } else { answers().next() };
    let covers = examined.iter().find(|event| event.verified == verified).map(|event| event.covers.words());
    let digests: Map<String, Value> =
        event.digests().iter().map(|digest| (digest.algorithm().to_string(), digest.to_string().into())).collect();
    json!({
        "number": event.place().number,
        "offset": event.place().offset,
        "pcr": event.register().map(PcrIndex::get),
        "type": event.event_type().to_string(),
        "what": event.details().to_string(),
        "verified": verified,
        "digest_covers": covers,
        "digests": digests,
        "data_bytes": event.data().len(),
    })
}
