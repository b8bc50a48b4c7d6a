//! Checks "nonces" and "quotes": is each quote the TPM's answer to the challenge of its place in the chain?

use std::{collections::BTreeMap, num::NonZero, thread};

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    attest::ClockInfo,
    pcr::{PcrBank, PcrIndex, PcrValues},
    quote::{AuthenticQuote, Expected, Quote},
};
use ledger_protocol::{
    NonceInputs,
    body::{BankValues, QuoteBody, VerdictResult},
};
use messages::{AgentId, ledger::Head};

use super::identity::{Identities, Identity};
use crate::{
    cause,
    history::{History, ProvenEntry, place},
    report::{Check, CheckName},
};

const FALSE_LOG: &str = "keep the bundle: it is signed proof that the log passed what it should not have";

/// What examining a quote brought to light.
pub(crate) struct Examined {
    nonce: String,
    /// Whether the quote's qualifying data is the nonce of its place in the chain, or why it cannot be read.
    nonce_answered: Result<bool, String>,
    /// The quote as answer to that nonce, over the values beside it, under the enrolled AK.
    authentic: Result<AuthenticQuote, Unbelieved>,
}

/// Why a quote is not believed.
enum Unbelieved {
    /// It is false.
    Rejected(String),
    /// The AK is not known.
    NoAk,
}

impl Examined {
    /// The nonce the quote should answer, as text.
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The TPM's clock, if the quote is authentic.
    pub(crate) fn clock(&self) -> Option<ClockInfo> {
        self.authentic.as_ref().ok().map(|quote| *quote.clock_info())
    }

    /// The quote, if it is authentic under the AK of its enrolment.
    pub(super) fn authentic(&self) -> Option<&AuthenticQuote> {
        self.authentic.as_ref().ok()
    }

    /// True if the quote is the TPM's answer to its challenge.
    pub(crate) fn is_authentic(&self) -> bool {
        self.authentic.is_ok()
    }
}

/// What was found, by the quote's position.
pub(crate) type Findings = BTreeMap<usize, Examined>;

/// Examines every quote of the run, on as many threads as there are processors.
pub(super) fn examine(history: &History, identities: &Identities, agent: &AgentId) -> Findings {
    let quotes: Vec<(usize, &ProvenEntry, &QuoteBody)> = history.quotes().collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = quotes.len().div_ceil(threads).max(1);
    let examine_one = |(position, entry, body): &(usize, &ProvenEntry, &QuoteBody)| {
        let identity = history.in_force(*position).enrol.and_then(|enrol| identities.get(&enrol));
        (*position, examine_quote(entry, body, identity, agent))
    };
    thread::scope(|scope| {
        let spawn = |part| scope.spawn(move || -> Vec<_> { Vec::from_iter(<[_]>::iter(part).map(examine_one)) });
        let workers: Vec<_> = quotes.chunks(share).map(spawn).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Vec<_>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    })
}

fn examine_quote(entry: &ProvenEntry, body: &QuoteBody, identity: Option<&Identity>, agent: &AgentId) -> Examined {
    let head = Head { seq: entry.seq, prev: entry.prev };
    let nonce = NonceInputs { beacon: body.beacon, agent, head, salt: body.salt }.derive().as_str().to_owned();
    let quote = match Quote::parse(&body.attest, &body.signature) {
        Ok(quote) => quote,
        Err(error) => {
            let text = format!("the quote is malformed: {}", cause::chain(&error));
            return Examined { nonce, nonce_answered: Err(text.clone()), authentic: Err(Unbelieved::Rejected(text)) };
        }
    };
    let nonce_answered = Ok(quote.extra_data() == nonce.as_bytes());
    let authentic = match identity {
        None => Err(Unbelieved::NoAk),
        Some(Identity { ak, .. }) => register_values(&body.pcrs).and_then(|values| {
            let expected = Expected { nonce: nonce.as_bytes(), selection: &values.selection(), values: &values };
            quote.verify(ak, &expected).map_err(|error| Unbelieved::Rejected(cause::chain(&error)))
        }),
    };
    Examined { nonce, nonce_answered, authentic }
}

/// The values recorded beside a quote: one bank, ascending, none twice.
fn register_values(pcrs: &[BankValues]) -> Result<PcrValues, Unbelieved> {
    values_of(pcrs).map_err(Unbelieved::Rejected)
}

/// The register values of a quote's entry.
///
/// # Errors
/// Why the values are not those of one bank, as text.
pub(crate) fn values_of(pcrs: &[BankValues]) -> Result<PcrValues, String> {
    let [bank] = pcrs else {
        return Err(format!("the values are of {} banks; expected one", pcrs.len()));
    };
    let algorithm = u16::try_from(bank.alg).ok().and_then(HashAlgorithm::from_tpm_id);
    let algorithm = algorithm.ok_or_else(|| format!("the values are of an unknown bank, {:#06x}", bank.alg))?;
    if !bank.values.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err("the register values are not in ascending order".to_owned());
    }
    let mut values = PcrValues::new(PcrBank(algorithm));
    for (index, bytes) in &bank.values {
        let index = u8::try_from(*index).ok().and_then(|index| PcrIndex::try_from(index).ok());
        let index = index.ok_or("a value is of a register beyond 23")?;
        let value = Digest::new(algorithm, bytes).map_err(|error| cause::chain(&error))?;
        values.insert(index, value).map_err(|error| cause::chain(&error))?;
    }
    Ok(values)
}

/// A quote that a verdict passed answers the nonce of its own place: not an older one, not another agent's.
pub(super) fn check_nonces(history: &History, findings: &Findings) -> Check {
    let mut check = Check::new(CheckName::Nonces);
    for (position, entry, passed) in judged(history) {
        check.examine();
        let Some(examined) = findings.get(&position) else { continue };
        let problem = match &examined.nonce_answered {
            Ok(true) => continue,
            Ok(false) => format!("the quote passed but does not answer its challenge {}", examined.nonce),
            Err(text) => format!("the quote passed, but {text}"),
        };
        if passed {
            check.refute(place(entry), problem, FALSE_LOG);
        }
    }
    check
}

/// A quote that a verdict passed is signed by the enrolled AK, over the values recorded beside it.
pub(super) fn check_quotes(history: &History, findings: &Findings) -> Check {
    let mut check = Check::new(CheckName::Quotes);
    for (position, entry, passed) in judged(history) {
        check.examine();
        match findings.get(&position).map(|examined| &examined.authentic) {
            Some(Err(Unbelieved::Rejected(text))) if passed => {
                check.refute(place(entry), format!("the quote passed, but {text}"), FALSE_LOG);
            }
            Some(Err(Unbelieved::NoAk)) => {
                let remedy = "see the identity check: without the binding there is no key to check with";
                check.doubt(place(entry), "the AK of the enrolment is not known", remedy);
            }
            Some(Err(Unbelieved::Rejected(_)) | Ok(_)) | None => {}
        }
    }
    check
}

/// The quotes with whether a verdict passed them. A quote that was not passed may be anything: that it was refused
/// is what the log says, and the statement tells how many of those the TPM itself bears out.
fn judged(history: &History) -> Vec<(usize, &ProvenEntry, bool)> {
    let passed: std::collections::BTreeSet<_> = history
        .verdicts()
        .filter(|(_, _, verdict)| verdict.result == VerdictResult::Pass)
        .map(|(_, _, verdict)| verdict.quote)
        .collect();
    history.quotes().map(|(position, entry, _)| (position, entry, passed.contains(&entry.leaf))).collect()
}
