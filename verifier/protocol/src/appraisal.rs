//! Evidence against policy: every finding, and a pass that only an authenticated quote can give.

mod answer;
mod boot;
mod findings;
mod lists;
mod rejected;
mod runtime;
mod tpm;

use evidence::{
    algorithm::{Digest, EncryptionAlgorithm, HashAlgorithm, SignatureScheme},
    attest::ClockInfo,
    crypto::CryptoUnavailable,
    ima::MeasurementState,
    pcr::{PcrBank, PcrIndex, PcrSelection, PcrValues},
    public::Ak,
    quote::{AuthenticQuote, Expected, QuoteRejected},
};

pub use answer::{ATTEST_BYTES_MAX, Evidence, NoQuote, PAYLOAD_KEY_BYTES_MAX, QuoteParts, SIGNATURE_BYTES_MAX};
use messages::FindingText;

pub use boot::{BootJudgement, BootReference, boot_event, boot_text};
use findings::Findings;
pub use findings::{FINDINGS_MAX, Finding, SEVERITY_LABELS, SEVERITY_MAX, SEVERITY_NOTICE, severity_label};
pub use lists::{ListPart, Lists, MeasurementText};
pub use runtime::{RuntimeReference, ima_register, ima_text, unread_list};

use crate::policy::{AlgorithmsAccepted, PCR_IMA, PCR_PAYLOAD_KEY, TpmPolicy, layer_name};

/// What evidence is held against.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// The attestation key of the binding that the agent was enrolled under.
    pub ak: &'a Ak,
    /// Accepted algorithms.
    pub accepted: &'a AlgorithmsAccepted,
    /// The TPM's clock at the last quote whose clock was accepted; `None` before the first.
    pub previous_clock: Option<ClockInfo>,
    /// Register values.
    pub policy: &'a TpmPolicy,
    /// What may boot, if that is asked.
    pub measured_boot: Option<BootReference<'a>>,
    /// What may run, if that is asked.
    pub runtime: Option<RuntimeReference<'a>>,
}

impl Reference<'_> {
    /// The registers to ask for, bit 0 being PCR 0, without the payload key's unless the policy has it.
    ///
    /// Beside those of the static policy: with a measured-boot policy PCR 0, without which agents do
    /// not send their boot log, and those it relies on; with a runtime policy PCR 10, and PCR 0 to 9
    /// while the list is asked for from its first entry, which has to be their aggregate.
    #[must_use]
    pub fn mask(&self) -> u32 {
        let boot = self.measured_boot.map_or(0, |boot| boot.policy.mask());
        let runtime = self.runtime.map_or(0, |runtime| {
            let firmware = if runtime.asked_from == 0 { MASK_FIRMWARE } else { 0 };
            firmware | 1 << PCR_IMA
        });
        self.policy.mask() | boot | runtime
    }

    /// What a quote must cover, exactly: the mask and the payload key's register, in `bank`.
    #[must_use]
    pub fn selection(&self, bank: PcrBank) -> PcrSelection {
        let with_key = self.mask() | 1 << PCR_PAYLOAD_KEY;
        PcrSelection::from_indices(bank, PcrIndex::all().filter(|index| with_key >> index.get() & 1 == 1))
    }
}

/// The outcome of an appraisal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All that policy asks for is there, authentic and right.
    Pass,
    /// Something is wrong or missing.
    Fail,
    /// The question could not be answered; never a pass.
    Error,
}

/// What was made of one piece of evidence.
#[derive(Clone, Debug)]
#[must_use]
pub struct Appraisal {
    boot: Option<BootJudgement>,
    clock: Option<ClockInfo>,
    findings: Findings,
    ima_state: Option<MeasurementState>,
    quote: Option<AuthenticQuote>,
    unanswered: bool,
}

impl Appraisal {
    /// The outcome. [`Outcome::Pass`] needs an authentic quote and no finding.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.quote {
            _ if self.unanswered => Outcome::Error,
            Some(_) if self.findings.is_empty() => Outcome::Pass,
            Some(_) | None => Outcome::Fail,
        }
    }

    /// Every finding in the order of the checks, then notices; at most [`FINDINGS_MAX`], with a last
    /// one that says how many were cut.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.to_vec()
    }

    /// `component.event` of the first finding.
    #[must_use]
    pub fn first_event(&self) -> Option<String> {
        self.findings.first().map(Finding::event_id)
    }

    /// The quote, once it is known to come from the agent's TPM in answer to this challenge.
    #[must_use]
    pub const fn quote(&self) -> Option<&AuthenticQuote> {
        self.quote.as_ref()
    }

    /// What was made of the boot log, for the next round's [`BootReference::before`].
    #[must_use]
    pub const fn boot(&self) -> Option<&BootJudgement> {
        self.boot.as_ref()
    }

    /// Where the measurement list stands now, if it was judged; to be kept once the verdict is durable.
    #[must_use]
    pub const fn ima_state(&self) -> Option<&MeasurementState> {
        self.ima_state.as_ref()
    }

    /// The TPM's clock, if the quote is authentic and its clock follows the previous one.
    #[must_use]
    pub const fn clock(&self) -> Option<ClockInfo> {
        self.clock
    }
}

/// Judges `evidence` and the lists that came with it as the answer to `nonce`.
///
/// Checks in order, each leaving its findings and none stopping the next where the next still
/// means something:
/// 1. the algorithms claimed are accepted, and the attestation key's own are;
/// 2. the quote is well-formed, the bank and the signature's hash are the one claimed;
/// 3. the quote is authentic: [`evidence::quote::Quote::verify`] with the nonce's bytes and exactly
///    the registers of [`Reference::selection`];
/// 4. its clock follows the last accepted one ([`ClockInfo::follows`]) as the TPM policy's rules want it, its
///    firmware is not denied, hash and key are as strong as asked;
/// 5. the payload key's register holds the hash of the key that came along;
/// 6. every register that policy names is there and holds one of its values;
/// 7. the boot log is there, gives the quoted registers and is what the measured-boot policy accepts,
///    or was judged so before over the same log and registers;
/// 8. the measurement list is there, continues what was known and gives the quoted register, and
///    every entry is allowed by the runtime policy in force when it was first seen;
/// 9. a reboot is allowed, if need be by a boot log that was found right in step 7.
///
/// What is required is read from `reference` alone; nothing in the evidence can leave a check out.
/// Steps 4 to 9 look at an authentic quote only: values that nobody signed are no facts.
pub fn appraise(reference: &Reference<'_>, nonce: &[u8], evidence: &Evidence, lists: &Lists) -> Appraisal {
    appraise_again(reference, nonce, evidence, lists, None)
}

/// As [`appraise`], for who has authenticated the quote before: `authenticated` MUST have been so under `reference.ak`. If
/// it is this very quote, over the same registers and values and with the same nonce, its signature is not checked anew.
pub fn appraise_again(
    reference: &Reference<'_>,
    nonce: &[u8],
    evidence: &Evidence,
    lists: &Lists,
    authenticated: Option<&AuthenticQuote>,
) -> Appraisal {
    let mut findings = Findings::default();
    let mut unanswered = false;
    let mut boot = None;
    let mut ima_state = None;
    let tpm =
        tpm::Rules { rules: reference.policy.rules(), layer: &layer_name("tpm_policy", reference.policy.digest()) };
    let bank = check_algorithms(reference, evidence, &mut findings);
    let asked = Asked { bank, nonce, authenticated };
    let quote = authenticate(reference, &asked, evidence, &mut findings, &mut unanswered);
    let mut clock = None;
    if let Some(quote) = &quote {
        let step;
        (clock, step) = tpm.check_clock(quote.clock_info(), reference.previous_clock, &mut findings);
        tpm.check_firmware(quote.firmware_version(), &mut findings);
        tpm.check_floors(reference.ak.public(), quote.values().bank().algorithm(), &mut findings);
        if check_payload_key(quote.values(), evidence.payload_key(), &mut findings).is_err() {
            unanswered = true;
        }
        tpm.check_registers(quote.values(), reference.policy, &mut findings);
        match judge_lists(reference, quote, lists, &mut findings) {
            Ok(judged) => {
                (boot, ima_state) = judged;
                let booted_right = boot.as_ref().is_some_and(BootJudgement::passed);
                if tpm.check_reset(step, booted_right, &mut findings) {
                    clock = None;
                }
            }
            Err(CryptoUnavailable { .. }) => unanswered = true,
        }
    }
    Appraisal { boot, clock, findings, ima_state, quote, unanswered }
}

fn judge_lists(
    reference: &Reference<'_>,
    quote: &AuthenticQuote,
    lists: &Lists,
    findings: &mut Findings,
) -> Result<(Option<BootJudgement>, Option<MeasurementState>), CryptoUnavailable> {
    let values = quote.values();
    let boot = match &reference.measured_boot {
        Some(boot) => boot::judge(boot, &lists.boot_log, values, findings)?,
        None => None,
    };
    let ima_state = match &reference.runtime {
        Some(runtime) => {
            let booted_right = boot.as_ref().is_some_and(BootJudgement::passed);
            let log = lists.boot_log.present().filter(|_| booted_right);
            runtime::judge(runtime, &lists.ima, quote, log.map(Vec::as_slice), findings)?
        }
        None => None,
    };
    Ok((boot, ima_state))
}

/// Returns the bank that the quote must be of.
fn check_algorithms(reference: &Reference<'_>, evidence: &Evidence, findings: &mut Findings) -> Option<HashAlgorithm> {
    let Reference { ak, accepted, .. } = reference;
    let bank: Option<HashAlgorithm> = evidence.hash_alg().parse().ok();
    let bank = bank.filter(|bank| accepted.hash().contains(bank));
    if bank.is_none() {
        let text = not_accepted("hash_alg", evidence.hash_alg(), &names(accepted.hash()));
        findings.quote("invalid_hash_alg", text.of_layer("accept_tpm_hash_algs"));
    }
    // The claims are only text; the key that must have signed says what it is and what it signs with.
    let (claimed, own): (Option<EncryptionAlgorithm>, _) =
        (evidence.enc_alg().parse().ok(), ak.public().encryption_algorithm());
    if ![claimed, Some(own)].iter().all(|found| found.is_some_and(|found| accepted.encryption().contains(&found))) {
        let expected = format!("{} (the attestation key is {own})", names(accepted.encryption()));
        let text = not_accepted("enc_alg", evidence.enc_alg(), &expected);
        findings.quote("invalid_enc_alg", text.of_layer("accept_tpm_encryption_algs"));
    }
    let (claimed, scheme): (Option<SignatureScheme>, _) = (evidence.sign_alg().parse().ok(), ak.scheme().scheme);
    if !accepted.signing().contains(&scheme) || claimed != Some(scheme) {
        let expected = format!("{} (the attestation key signs {scheme})", names(accepted.signing()));
        let text = not_accepted("sign_alg", evidence.sign_alg(), &expected);
        findings.quote("invalid_sign_alg", text.of_layer("accept_tpm_signing_algs"));
    }
    bank
}

fn not_accepted(member: &str, found: &str, expected: &str) -> FindingText {
    let found: String = found.chars().take(32).collect();
    FindingText::new(format!("answer {member}"), format!("{found:?}"), format!("one of {expected}"))
}

fn names<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a quote must answer.
struct Asked<'a> {
    bank: Option<HashAlgorithm>,
    nonce: &'a [u8],
    /// A quote that is known to be the attestation key's.
    authenticated: Option<&'a AuthenticQuote>,
}

fn authenticate(
    reference: &Reference<'_>,
    asked: &Asked<'_>,
    evidence: &Evidence,
    findings: &mut Findings,
    unanswered: &mut bool,
) -> Option<AuthenticQuote> {
    let QuoteParts { quote, values } = match evidence.parts() {
        Ok(parts) => parts,
        Err(malformed) => {
            findings.quote("invalid_data", FindingText::new("quote", malformed, "a quote as TPMs make them"));
            return None;
        }
    };
    // An unaccepted bank has its finding already, and there is no selection to expect.
    let bank = asked.bank?;
    // Keylime's rule: one hash for bank and signature, the one the agent names.
    if quote.signature().hash() != bank {
        let found = quote.signature().hash();
        let expected = format!("{bank}, the bank's hash");
        findings.quote("quote_validation", FindingText::new("quote signature", format!("hash {found}"), expected));
        return None;
    }
    let selection = reference.selection(PcrBank(bank));
    let expected = Expected { nonce: asked.nonce, selection: &selection, values };
    if let Some(known) = asked.authenticated.filter(|known| known.is(quote, &expected)) {
        return Some(known.clone());
    }
    match quote.clone().verify(reference.ak, &expected) {
        Ok(quote) => Some(quote),
        Err(rejected) => {
            *unanswered |= matches!(rejected, QuoteRejected::Unavailable(_));
            findings.quote("quote_validation", rejected::quote(&rejected));
            None
        }
    }
}

fn check_payload_key(
    values: &PcrValues,
    payload_key: Option<&str>,
    findings: &mut Findings,
) -> Result<(), CryptoUnavailable> {
    let Some(pem) = payload_key else {
        findings.quote("no_pubkey", FindingText::new("answer pubkey", "it is missing", "the payload key's PEM"));
        return Ok(());
    };
    let found = PcrIndex::try_from(PCR_PAYLOAD_KEY).ok().and_then(|index| values.get(index));
    let Some(found) = found else {
        let text = FindingText::new("PCR 16", "it is not quoted", "the payload key's hash in it");
        findings.pcr("missing_pcr_16", text);
        return Ok(());
    };
    let expected = extended_once(values.bank().algorithm(), pem.as_bytes())?;
    if *found != expected {
        let place = format!("PCR 16 of bank {}", values.bank());
        let expected = format!("{expected} for the payload key shown");
        findings.pcr("invalid_pcr_16", FindingText::new(place, found.to_string(), expected));
    }
    Ok(())
}

/// What a register holds after a reset and one extend with `data`'s digest: H(0… ‖ H(data)).
fn extended_once(algorithm: HashAlgorithm, data: &[u8]) -> Result<Digest, CryptoUnavailable> {
    let zero = Digest::zero(algorithm);
    algorithm.digest(&[zero.as_bytes(), algorithm.digest(data)?.as_bytes()].concat())
}

/// PCR 0 to 9: what IMA's `boot_aggregate` sums up.
const MASK_FIRMWARE: u32 = 0x3ff;

#[cfg(test)]
mod tests;
