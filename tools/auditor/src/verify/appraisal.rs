//! Check "appraisal": every verdict comes out again from the evidence and the policy in force.

use std::collections::BTreeMap;

use evidence::{algorithm::HashAlgorithm, attest::ClockInfo, keylime::KeylimeQuote, quote::Quote};
use ledger_protocol::body::{AgentPolicy, NamedDigest, QuoteBody, Verdict, VerdictResult};
use messages::{Digest, keylime::IntegrityQuote};
use verifier_protocol::{
    appraisal::{Evidence, Outcome, Reference, appraise},
    policy::{AlgorithmsAccepted, TpmPolicy},
};

use super::{
    blobs::Blobs,
    identity::{Identities, Identity},
    quotes::{Examined, Findings, values_of},
};
use crate::{
    cause,
    history::{History, place},
    report::{Check, CheckName},
};

const FALSE_LOG: &str = "keep the bundle: it is signed proof that the verdict does not follow from the evidence";
const OTHER_ROLE: &str = "use a version of attestry-audit that appraises this kind of policy";
const PRUNED: &str = "ask the log's operator for the policy's blob";
const WORD_ONLY: &str = "nothing to do: the log does not hold what the verifier saw, only its word";

/// Findings that rest on what the agent said beside the quote, which the log does not hold: the payload key it showed
/// and the names it gave its algorithms.
const UNRECORDED_EVENTS: [&str; 5] =
    ["no_pubkey", "invalid_pcr_16", "invalid_hash_alg", "invalid_enc_alg", "invalid_sign_alg"];

/// Judges each quote again, with the verifier's own engine, and compares.
///
/// A pass MUST come out as a pass. A failure MUST come out as a failure, unless every reason the verdict gives is one
/// the log does not hold the input of; that is then the verifier's word only. An error claims nothing.
pub(super) fn check(history: &History, blobs: &Blobs, identities: &Identities, findings: &Findings) -> Check {
    let mut check = Check::new(CheckName::Appraisal);
    let mut policies = Policies::default();
    let mut clocks: BTreeMap<Option<usize>, ClockInfo> = BTreeMap::new();
    for (position, entry, verdict) in history.verdicts() {
        check.examine();
        let before = history.in_force(position);
        let parts = (|| {
            let quote_position = before.quote?;
            let quote = history.quote(Some(quote_position))?;
            let policy = history.policy(before.policy)?;
            Some((
                quote,
                policy,
                before.enrol.and_then(|enrol| identities.get(&enrol))?,
                findings.get(&quote_position)?,
            ))
        })();
        // What is missing has its problem in an earlier check.
        let Some((quote, policy, identity, examined)) = parts else { continue };
        let again = match policies.read(before.policy, policy, blobs) {
            Err(problem) => {
                check.doubt(
                    place(entry),
                    problem.clone(),
                    if problem.contains("not in the bundle") { PRUNED } else { OTHER_ROLE },
                );
                continue;
            }
            Ok(reference) => {
                let clock = clocks.get(&before.enrol).copied();
                // Of the first quote of a later run the one before is not known, nor its clock.
                let clock_unknown = clock.is_none() && !history.is_whole();
                judge(quote, identity, examined, reference, clock, clock_unknown)
            }
        };
        if let Some(clock) = again.clock {
            clocks.insert(before.enrol, clock);
        }
        compare(verdict, &again, &place(entry), &mut check);
    }
    check
}

/// What the engine says now.
struct Again {
    outcome: Outcome,
    reasons: Vec<String>,
    clock: Option<ClockInfo>,
    /// Whether `quote_validation` can rest on what is not here: the agent's name for its hash, when several are
    /// accepted, or an earlier clock.
    quote_unrecorded: bool,
}

fn compare(verdict: &Verdict, again: &Again, place: &str, check: &mut Check) {
    let unrecorded =
        |event: &str| UNRECORDED_EVENTS.contains(&event) || (again.quote_unrecorded && event == "quote_validation");
    match (verdict.result, again.outcome) {
        (VerdictResult::Error, _) | (VerdictResult::Pass, Outcome::Pass) | (VerdictResult::Fail, Outcome::Fail) => {}
        (_, Outcome::Error) => check.doubt(place, "the evidence could not be judged here", OTHER_ROLE),
        (VerdictResult::Pass, Outcome::Fail) => {
            let problem = format!("the verdict is a pass; the evidence fails: {}", again.reasons.join("; "));
            check.refute(place, problem, FALSE_LOG);
        }
        (VerdictResult::Fail, Outcome::Pass) => {
            let reasons: Vec<&str> = verdict.findings.iter().map(|finding| finding.event.as_str()).collect();
            if !reasons.is_empty() && reasons.iter().all(|event| unrecorded(event)) {
                let problem = format!("the failure rests on what the log does not hold ({})", reasons.join(", "));
                check.doubt(place, problem, WORD_ONLY);
            } else {
                let problem = format!("the verdict is a failure ({}); the evidence passes", reasons.join(", "));
                check.refute(place, problem, FALSE_LOG);
            }
        }
    }
}

fn judge(
    quote: &QuoteBody,
    identity: &Identity,
    examined: &Examined,
    reference: &(AlgorithmsAccepted, TpmPolicy),
    previous_clock: Option<ClockInfo>,
    clock_unknown: bool,
) -> Again {
    let (accepted, policy) = reference;
    let quote_unrecorded = clock_unknown || accepted.hash().len() > 1;
    let failed =
        |reason: String| Again { outcome: Outcome::Fail, reasons: vec![reason], clock: None, quote_unrecorded };
    let evidence = match answer(quote, identity) {
        Ok(answer) => match Evidence::from_answer(&answer) {
            Ok(evidence) => evidence,
            Err(error) => return failed(cause::chain(&error)),
        },
        Err(problem) => return failed(problem),
    };
    let reference = Reference { ak: &identity.ak, accepted, previous_clock, policy };
    let appraisal = appraise(&reference, examined.nonce().as_bytes(), &evidence);
    // The payload key itself is not in the log; the check "releases" compares its hash.
    let reasons: Vec<String> = appraisal
        .findings()
        .into_iter()
        .filter(|finding| finding.event != "no_pubkey")
        .map(|finding| finding.text)
        .collect();
    let outcome = match appraisal.outcome() {
        Outcome::Error => Outcome::Error,
        _ if appraisal.quote().is_some() && reasons.is_empty() => Outcome::Pass,
        Outcome::Pass | Outcome::Fail => Outcome::Fail,
    };
    Again { outcome, reasons, clock: appraisal.clock(), quote_unrecorded }
}

/// The agent's answer as far as the log holds it; the names of the algorithms are taken from the evidence itself.
fn answer(quote: &QuoteBody, identity: &Identity) -> Result<IntegrityQuote, String> {
    let values = values_of(&quote.pcrs)?;
    let parsed = Quote::parse(&quote.attest, &quote.signature).map_err(|error| cause::chain(&error))?;
    let (attest, signature) = (quote.attest.to_vec(), quote.signature.to_vec());
    let bank: HashAlgorithm = values.bank().algorithm();
    Ok(IntegrityQuote {
        hash_alg: bank.to_string(),
        enc_alg: identity.ek.public().enc_alg_name().to_owned(),
        sign_alg: parsed.signature().scheme().scheme.to_string(),
        quote: KeylimeQuote { attest, signature, values }.encode(),
        pubkey: None,
        ima_measurement_list: None,
        ima_measurement_list_entry: None,
        mb_measurement_list: None,
    })
}

/// Policies that were read, by the position of their entry.
#[derive(Default)]
struct Policies(BTreeMap<Option<usize>, Result<(AlgorithmsAccepted, TpmPolicy), String>>);

impl Policies {
    fn read(
        &mut self,
        position: Option<usize>,
        policy: &AgentPolicy,
        blobs: &Blobs,
    ) -> &Result<(AlgorithmsAccepted, TpmPolicy), String> {
        self.0.entry(position).or_insert_with(|| read_policy(policy, blobs))
    }
}

fn read_policy(policy: &AgentPolicy, blobs: &Blobs) -> Result<(AlgorithmsAccepted, TpmPolicy), String> {
    let accepted = AlgorithmsAccepted::from_names(&policy.hash_algs, &policy.enc_algs, &policy.sign_algs)
        .map_err(|error| error.to_string())?;
    let mut digest: Option<Digest> = None;
    for NamedDigest { role, digest: named } in &policy.policies {
        if role != "tpm" || digest.replace(*named).is_some() {
            return Err(format!("the policy in force has a part of role {role:?}, which is not appraised here"));
        }
    }
    let text = match digest {
        None => "{}".to_owned(),
        Some(digest) => {
            let bytes = blobs.get(&digest).ok_or_else(|| format!("policy {digest} is not in the bundle"))?;
            String::from_utf8(bytes.to_vec()).map_err(|_| format!("policy {digest} is not UTF-8"))?
        }
    };
    let policy = TpmPolicy::parse(&text, accepted.hash()).map_err(|error| cause::chain(&error))?;
    Ok((accepted, policy))
}
