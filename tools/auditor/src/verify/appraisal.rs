//! Check "appraisal": every verdict comes out again from the evidence and the policy in force.

mod course;
mod envelopes;
mod policies;

use evidence::{algorithm::HashAlgorithm, signature::Signature};
use ledger_protocol::body::{QuoteBody, Verdict, VerdictResult};
use verifier_protocol::appraisal::{Appraisal, Evidence, Finding, Outcome, Reference, SEVERITY_NOTICE, appraise_again};

use self::{
    course::{Courses, Round, Unjudged},
    policies::Policies,
};
use super::{
    Question,
    blobs::Blobs,
    identity::{Identities, Identity},
    quotes::{Findings, values_of},
};
use crate::{
    cause,
    history::{History, place},
    report::{Check, CheckName},
};

const FALSE_LOG: &str = "keep the bundle: it is signed proof that the verdict does not follow from the evidence";
const FALSE_STATE: &str =
    "keep the bundle: it is signed proof that the verifier's account of the list does not follow from the evidence";
const OTHER_ROLE: &str = "use a version of attestry-audit that appraises this kind of policy";
const PRUNED: &str = "ask the log's operator for the blob";
const EARLIER: &str = "export from an earlier time on, best from before the machine's last start";
const WORD_ONLY: &str = "nothing to do: the log does not hold what the verifier saw, only its word";

/// Findings that rest on what the agent said beside the quote, which the log does not hold: the payload key it showed
/// and the names it gave its algorithms.
const UNRECORDED_EVENTS: [&str; 5] =
    ["no_pubkey", "invalid_pcr_16", "invalid_hash_alg", "invalid_enc_alg", "invalid_sign_alg"];

/// Findings about a measurement list that did not come, or not in a form that can be kept.
const UNRECORDED_LISTS: [&str; 2] = ["list_missing", "parser.entry"];

/// Judges each quote again, with the verifier's own engine, and compares.
///
/// A pass MUST come out as a pass. A failure MUST come out as a failure, unless every reason the verdict gives is one
/// the log does not hold the input of; that is then the verifier's word only. An error claims nothing.
/// A verdict's account of where a measurement list stands MUST come out too. Envelopes that runtime policies were signed
/// in are opened again, with the keys of the question if it names any.
pub(super) fn check(
    history: &History,
    blobs: &Blobs<'_>,
    identities: &Identities,
    findings: &Findings,
    question: &Question<'_>,
) -> Check {
    let mut check = Check::new(CheckName::Appraisal);
    envelopes::check(history, blobs, question.policy_signers, &mut check);
    let mut policies = Policies::default();
    let mut courses = Courses::default();
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
                // Examined under the AK of its own enrolment, which is the verdict's too.
                history.in_force(quote_position).enrol == before.enrol,
            ))
        })();
        // What is missing has its problem in an earlier check.
        let Some((quote, policy, identity, examined, same_ak)) = parts else { continue };
        let terms = match policies.read(before.policy, policy, blobs) {
            Ok(terms) => terms,
            Err(problem) => {
                let remedy = if problem.contains("not in the bundle") { PRUNED } else { OTHER_ROLE };
                check.doubt(place(entry), problem, remedy);
                continue;
            }
        };
        let course = courses.of(before.enrol);
        let round = match course.round(quote, &terms, verdict, history.is_whole(), examined.clock(), blobs) {
            Ok(round) => round,
            Err(unjudged) => {
                let remedy = match unjudged {
                    Unjudged::Blob { .. } => PRUNED,
                    Unjudged::Begin { .. } => EARLIER,
                };
                check.doubt(place(entry), unjudged.to_string(), remedy);
                continue;
            }
        };
        let earlier = policies.runtime();
        let earlier: Vec<_> = earlier.iter().map(AsRef::as_ref).collect();
        let again = match evidence_of(quote, identity) {
            Err(problem) => Again::failed(problem),
            Ok(evidence) => {
                let reference = Reference {
                    ak: &identity.ak,
                    accepted: &terms.accepted,
                    previous_clock: course.clock(),
                    policy: &terms.tpm,
                    measured_boot: course.boot(&terms),
                    runtime: round.runtime(&terms, &earlier),
                };
                let (nonce, authentic) = (examined.nonce().as_bytes(), examined.authentic().filter(|_| same_ak));
                let appraisal = appraise_again(&reference, nonce, &evidence, round.lists(), authentic);
                let again = Again::of(&appraisal, &round);
                if let Some(problem) = other_state(verdict, &appraisal, &round) {
                    check.refute(place(entry), problem, FALSE_STATE);
                }
                course.settle(&appraisal);
                again
            }
        };
        // Of the first quote of a later run the one before is not known, nor its clock.
        let clock_unknown = course.clock_was_unknown() && !history.is_whole();
        let unrecorded =
            Unrecorded { list: quote.ima.delta.is_none(), quote: clock_unknown || terms.accepted.hash().len() > 1 };
        compare(verdict, &again, &unrecorded, &place(entry), &mut check);
    }
    check
}

/// How far the list stands is what the next round begins with: a verifier that states another place could leave entries
/// out. Nothing if it is the same, or rests on what is not here.
fn other_state(verdict: &Verdict, appraisal: &Appraisal, round: &Round) -> Option<String> {
    let stated = &verdict.ima_state;
    if round.begun_by_word() || stated.running.is_empty() || verdict.result == VerdictResult::Error {
        return None;
    }
    let state = appraisal.ima_state()?;
    let (count, running) = (state.next_entry(), state.register());
    let same = stated.count == count && stated.running.as_slice() == running.as_bytes();
    let found = format!("after {} entries, with the register at {}", stated.count, hex::encode(&stated.running));
    (!same).then(|| format!("the verdict has the list settled {found}; the evidence gives {count} and {running}"))
}

/// What the engine says now.
struct Again {
    outcome: Outcome,
    reasons: Vec<String>,
    /// Whether every reason is about a list whose begin is the verifier's word, with the keys learned there.
    begun_by_word: bool,
}

/// What a verdict can rest on that is not here.
struct Unrecorded {
    /// A measurement list that did not come along.
    list: bool,
    /// `quote_validation` can rest on the agent's name for its hash, when several are accepted, or on an earlier clock.
    quote: bool,
}

impl Unrecorded {
    fn has(&self, event: &str) -> bool {
        UNRECORDED_EVENTS.contains(&event)
            || (self.quote && event == "quote_validation")
            || (self.list && UNRECORDED_LISTS.contains(&event))
    }
}

impl Again {
    fn failed(reason: String) -> Self {
        Self { outcome: Outcome::Fail, reasons: vec![reason], begun_by_word: false }
    }

    fn of(appraisal: &Appraisal, round: &Round) -> Self {
        let findings = appraisal.findings();
        // The payload key itself is not in the log; the check "releases" compares its hash.
        let counts = |finding: &&Finding| finding.event != "no_pubkey" && finding.severity > SEVERITY_NOTICE;
        let reasons: Vec<&Finding> = findings.iter().filter(counts).collect();
        let outcome = match appraisal.outcome() {
            Outcome::Error => Outcome::Error,
            _ if appraisal.quote().is_some() && reasons.is_empty() => Outcome::Pass,
            Outcome::Pass | Outcome::Fail => Outcome::Fail,
        };
        let begun_by_word = round.begun_by_word() && reasons.iter().all(|reason| reason.component == "ima");
        Self { outcome, reasons: reasons.into_iter().map(|reason| reason.text.to_string()).collect(), begun_by_word }
    }
}

fn compare(verdict: &Verdict, again: &Again, unrecorded: &Unrecorded, place: &str, check: &mut Check) {
    match (verdict.result, again.outcome) {
        (VerdictResult::Error, _) | (VerdictResult::Pass, Outcome::Pass) | (VerdictResult::Fail, Outcome::Fail) => {}
        (_, Outcome::Error) => check.doubt(place, "the evidence could not be judged here", OTHER_ROLE),
        (VerdictResult::Pass, Outcome::Fail) if again.begun_by_word => {
            let problem = format!("keys measured before the bundle may be missing here: {}", again.reasons.join("; "));
            check.doubt(place, problem, EARLIER);
        }
        (VerdictResult::Pass, Outcome::Fail) => {
            let problem = format!("the verdict is a pass; the evidence fails: {}", again.reasons.join("; "));
            check.refute(place, problem, FALSE_LOG);
        }
        (VerdictResult::Fail, Outcome::Pass) => {
            let reasons = verdict.findings.iter().filter(|finding| finding.severity > SEVERITY_NOTICE);
            let reasons: Vec<&str> = reasons.map(|finding| finding.event.as_str()).collect();
            if !reasons.is_empty() && reasons.iter().all(|event| unrecorded.has(event)) {
                let problem = format!("the failure rests on what the log does not hold ({})", reasons.join(", "));
                check.doubt(place, problem, WORD_ONLY);
            } else {
                let problem = format!("the verdict is a failure ({}); the evidence passes", reasons.join(", "));
                check.refute(place, problem, FALSE_LOG);
            }
        }
    }
}

/// The agent's answer as far as the log holds it; the names of the algorithms are taken from the evidence itself.
fn evidence_of(quote: &QuoteBody, identity: &Identity) -> Result<Evidence, String> {
    let values = values_of(&quote.pcrs)?;
    // Whether the attestation is well-formed is for the appraisal.
    let signature = Signature::parse(&quote.signature).map_err(|error| cause::chain(&error))?;
    let bank: HashAlgorithm = values.bank().algorithm();
    let key = identity.ek.public().enc_alg_name().to_owned();
    let algorithms = [bank.to_string(), key, signature.scheme().scheme.to_string()];
    Evidence::from_parts(&quote.attest, &quote.signature, values, algorithms).map_err(|error| cause::chain(&error))
}
