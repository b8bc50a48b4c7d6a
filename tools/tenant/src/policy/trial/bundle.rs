//! The quotes of a bundle, judged one after the other as a verifier would have.

use std::path::Path;

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    ima::{Evidence, MeasurementState, boot_aggregates},
    pcr::{PcrBank, PcrIndex, PcrValues},
    quote::Quote,
};
use ledger_protocol::{
    Entry, Kind,
    body::{Body, QuoteBody},
};
use messages::FindingText;
use tools_auditor::bundle::{Bundle, blob_path, entry_path};

use super::{COMPONENT, Report, TriedPolicies, boot_log, judge_boot, judge_ima, new_state};
use crate::failure::Failure;

/// Judges every quote of a bundle. That the bundle is true is for `attestry-audit verify` to say.
pub(super) fn judge(
    folder: &Path,
    policies: &TriedPolicies,
    bank: PcrBank,
    report: &mut Report,
) -> Result<(), Failure> {
    let bundle = Bundle::open(folder).map_err(|error| {
        Failure::system("read the bundle", error).remedy("expected a folder as `attestry-audit export` makes it")
    })?;
    eprintln!("attestry: the bundle's proofs and signatures are not checked here; see: attestry-audit verify");
    let (mut state, mut boot_log, mut quotes) = (new_state(bank)?, None, 0);
    for listed in bundle.manifest().entries.iter().filter(|listed| listed.kind == Kind::Quote.name()) {
        let name = entry_path(listed.index);
        let broken = |error| Failure::system(format_args!("read {name} of the bundle"), error);
        let bytes = bundle.read(&name).map_err(|error| Failure::system(format_args!("read {name}"), error))?;
        let entry = Entry::decode(&bytes).map_err(|error| Failure::system(format_args!("read {name}"), error))?;
        let body = QuoteBody::decode(entry.body.as_slice()).map_err(broken)?;
        report.place = Some(format!("entry {} of the log", listed.index));
        quotes += 1;
        judge_quote(&Round { bundle: &bundle, body: &body, bank, policies }, &mut state, &mut boot_log, report)?;
    }
    report.quotes = Some(quotes);
    if quotes == 0 { Err(Failure::new("the bundle has no quote")) } else { Ok(()) }
}

/// One quote with what is needed to judge it.
struct Round<'r> {
    bundle: &'r Bundle,
    body: &'r QuoteBody,
    bank: PcrBank,
    policies: &'r TriedPolicies,
}

/// Judges a quote by its registers as recorded; a boot log that does not come along is the one before.
fn judge_quote(
    round: &Round<'_>,
    state: &mut MeasurementState,
    known_log: &mut Option<Vec<u8>>,
    report: &mut Report,
) -> Result<(), Failure> {
    let quote = match Quote::parse(&round.body.attest, &round.body.signature) {
        Ok(quote) => quote,
        Err(malformed) => {
            let text = FindingText::new("quote", malformed.to_string(), "a quote as TPMs make them");
            report.fail("qoute_validation", "invalid_data", &text);
            return Ok(());
        }
    };
    let banks = values(round.body)?;
    let Some(quoted) = banks.iter().find(|values| values.bank() == round.bank) else {
        let found = banks.iter().map(|values| values.bank().to_string()).collect::<Vec<_>>().join(", ");
        let text = FindingText::new("quote pcrSelect", format!("banks {found}"), format!("bank {}", round.bank));
        report.fail("pcr_validation", "missing_pcrs", &text);
        return Ok(());
    };
    if let Some(digest) = round.body.boot_log {
        *known_log = Some(blob(round.bundle, &blob_path(&digest))?);
    }
    if let Some(policy) = &round.policies.boot {
        match known_log {
            Some(bytes) => judge_boot(policy, &boot_log(bytes, "the boot log".as_ref())?, quoted, true, report)?,
            None => {
                let text = FindingText::new("boot log", "none came along", "one, which the policy requires");
                report.fail(COMPONENT, "parser.missing_log", &text.of_layer(policy.name.as_str()));
            }
        }
    }
    if let Some(stack) = &round.policies.runtime {
        let Some(register) = PcrIndex::try_from(10).ok().and_then(|index| quoted.get(index)) else {
            let text = FindingText::new("PCR 10", "it is not quoted", "its value, which the policy relies on");
            report.fail("pcr_validation", "missing_pcrs", &text.of_layer(stack.names()));
            return Ok(());
        };
        let delta = round.body.ima.delta.map(|digest| blob(round.bundle, &blob_path(&digest))).transpose()?;
        let mut aggregates = Vec::new();
        for values in &banks {
            aggregates.extend(boot_aggregates(values).map_err(|error| Failure::system("hash", error))?);
        }
        let evidence = Evidence {
            list: delta.as_deref().unwrap_or_default(),
            first_entry: round.body.ima.from,
            quoted: *register,
            reset_count: quote.clock_info().reset_count,
            boot_aggregates: &aggregates,
        };
        *state = judge_ima(stack, &evidence, state, true, report)?;
    }
    Ok(())
}

fn blob(bundle: &Bundle, name: &str) -> Result<Vec<u8>, Failure> {
    bundle.read(name).map_err(|error| {
        Failure::system(format_args!("read {name} of the bundle"), error)
            .remedy("the ledger may have pruned it; export the bundle of a later interval")
    })
}

/// The registers recorded beside a quote, by bank.
fn values(body: &QuoteBody) -> Result<Vec<PcrValues>, Failure> {
    let mut banks = Vec::new();
    for bank in &body.pcrs {
        let algorithm = u16::try_from(bank.alg).ok().and_then(HashAlgorithm::from_tpm_id);
        let Some(algorithm) = algorithm else { continue };
        let mut values = PcrValues::new(PcrBank(algorithm));
        for (index, value) in &bank.values {
            let index = u8::try_from(*index).ok().and_then(|index| PcrIndex::try_from(index).ok());
            let (Some(index), Ok(digest)) = (index, Digest::new(algorithm, value)) else {
                return Err(Failure::new(format!(
                    "a quote of the bundle has a malformed register of bank {algorithm}"
                )));
            };
            values.insert(index, digest).map_err(|error| Failure::system("read the registers", error))?;
        }
        banks.push(values);
    }
    Ok(banks)
}
