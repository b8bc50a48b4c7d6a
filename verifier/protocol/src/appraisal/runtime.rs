//! IMA's list against the quoted register and the runtime policy, from where the last round left it.

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    boot_log::BootLog,
    crypto::CryptoUnavailable,
    ima::{self, Event, MeasurementState, Severity, boot_aggregates},
    pcr::{PcrBank, PcrIndex, PcrValues},
    quote::AuthenticQuote,
    runtime_policy::PolicyStack,
};

use messages::FindingText;

use super::{
    findings::Findings,
    lists::{ListPart, MeasurementText},
};
use crate::policy::PCR_IMA;

/// What a measurement list is held against.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeReference<'a> {
    /// The policy in force: it judges what is seen for the first time.
    pub current: &'a PolicyStack,
    /// Those that were in force when entries that are not settled were first seen.
    pub earlier: &'a [&'a PolicyStack],
    /// Where the list stood after the last recorded round.
    pub state: &'a MeasurementState,
    /// The entry that the list was asked for from.
    pub asked_from: u64,
}

/// The register of measurement lists.
///
/// # Panics
/// Never: it exists.
#[must_use]
pub fn ima_register() -> PcrIndex {
    PcrIndex::try_from(PCR_IMA).expect("invariant: there are 24 registers")
}

/// The state of a machine whose list was never read. Its first quote says in which bank it is.
#[must_use]
pub fn unread_list() -> MeasurementState {
    MeasurementState::new(ima_register(), PcrBank(HashAlgorithm::Sha256))
}

/// Adds what is wrong with the list; where it stands now, if it could be judged.
///
/// `log` is a boot log that was found to give the quoted registers.
pub(super) fn judge(
    reference: &RuntimeReference<'_>,
    list: &ListPart<MeasurementText>,
    quote: &AuthenticQuote,
    log: Option<&[u8]>,
    findings: &mut Findings,
) -> Result<Option<MeasurementState>, CryptoUnavailable> {
    let Some(quoted) = quote.values().get(ima_register()) else {
        let text = FindingText::new("PCR 10", "it is not quoted", "its value, which the policy relies on");
        findings.pcr("missing_pcrs", text.of_layer(reference.current.names()));
        return Ok(None);
    };
    let list = match list {
        ListPart::Present(list) => list,
        ListPart::Absent => {
            let expected = format!("one from entry {} on", reference.asked_from);
            let text = FindingText::new(LIST, "none came along", expected).of_layer(reference.current.names());
            findings.push(ima::Finding::COMPONENT, Event::ListMissing.name(), text);
            return Ok(None);
        }
        ListPart::Unusable(reason) => {
            let text = FindingText::new(LIST, reason, "a list that can be kept and judged");
            let text = text.of_layer(reference.current.names());
            findings.push(ima::Finding::COMPONENT, Event::ParserEntry.name(), text);
            return Ok(None);
        }
    };
    // Only the list's first entry is held against them.
    let aggregates = if list.first_entry == 0 { aggregates(quote.values(), log)? } else { Vec::new() };
    let evidence = ima::Evidence {
        list: list.text.as_bytes(),
        first_entry: list.first_entry,
        quoted: *quoted,
        reset_count: quote.clock_info().reset_count,
        boot_aggregates: &aggregates,
    };
    let policies = ima::Policies { current: reference.current, earlier: reference.earlier };
    let appraisal = ima::appraise(&evidence, &policies, reference.state)?;
    tell(&appraisal, reference.current, findings);
    Ok(Some(appraisal.state))
}

/// A list's finding in its parts.
#[must_use]
pub fn ima_text(finding: &ima::Finding) -> FindingText {
    let text = FindingText::new(finding.place(), finding.found.as_str(), finding.expected.as_str());
    match &finding.layer {
        Some(layer) => text.of_layer(layer),
        None => text,
    }
}

fn tell(appraisal: &ima::Appraisal, policy: &PolicyStack, findings: &mut Findings) {
    let kept = appraisal.findings.kept();
    for finding in kept {
        let (event, text) = (finding.event.name(), ima_text(finding));
        match (finding.severity, finding.event) {
            // Keylime's name for it belongs to another component.
            (Severity::Failure, Event::ListGap) => findings.quote("invalid_ima_entry_nb", text),
            (Severity::Failure, _) => findings.push(ima::Finding::COMPONENT, event, text),
            (Severity::Warning, _) => findings.notice(ima::Finding::COMPONENT, event, text),
        }
    }
    let failures_kept = kept.iter().filter(|finding| finding.severity == Severity::Failure).count();
    let failures = usize::try_from(appraisal.findings.failures()).unwrap_or(usize::MAX);
    findings.cut(failures.saturating_sub(failures_kept));
    for hidden in &appraisal.excluded {
        let found = format!("{} entries pass for exclude {:?} alone", hidden.count, hidden.pattern);
        let text = FindingText::remark(LIST, found, hidden.layer.as_str());
        findings.notice(ima::Finding::COMPONENT, "excluded", text);
    }
    if appraisal.ignored_violations > 0 {
        let found = format!("{} violations pass by a rule of the policy", appraisal.ignored_violations);
        let text = FindingText::remark(LIST, found, policy.names());
        findings.notice(ima::Finding::COMPONENT, "violations_ignored", text);
    }
    if !appraisal.passed() && findings.is_empty() {
        let text = FindingText::new(LIST, "it is not authentic", "one that gives the quoted register");
        findings.push(ima::Finding::COMPONENT, Event::PcrMismatch.name(), text);
    }
}

/// What `boot_aggregate` may be: sums over the quoted registers, and over those that `log` gives for
/// other banks, since IMA takes the bank of its own hash where the TPM has it.
fn aggregates(values: &PcrValues, log: Option<&[u8]>) -> Result<Vec<Digest>, CryptoUnavailable> {
    let mut aggregates = boot_aggregates(values)?;
    // Without the registers themselves, what a log claims of other banks is tied to nothing.
    let Some(log) = log.filter(|_| !aggregates.is_empty()).and_then(|log| BootLog::parse(log).ok()) else {
        return Ok(aggregates);
    };
    for bank in log.banks().filter(|bank| *bank != values.bank()) {
        let replay = log.replay(bank)?;
        let mut replayed = PcrValues::new(bank);
        for index in PcrIndex::all().take(FIRMWARE_REGISTERS).filter(|index| replay.gap(*index).is_none()) {
            // A replayed value is of the bank's algorithm.
            let _ = replayed.insert(index, replay.value(&log, index));
        }
        aggregates.extend(boot_aggregates(&replayed)?);
    }
    Ok(aggregates)
}

/// Where findings about the whole list are.
const LIST: &str = "measurement list";
/// PCR 0 to 9: what a `boot_aggregate` sums up at most.
const FIRMWARE_REGISTERS: usize = 10;
