//! Check "identity": whose keys the quotes are checked under.

use std::{collections::BTreeMap, ops::Deref};

use evidence::{
    ek_certificate::{Certificate, EkCertificate},
    public::{Ak, Ek, Public},
};
use ledger_protocol::body::{Binding, Enrol};
use messages::AgentId;

use super::{Question, blobs::Blobs};
use crate::{
    cause,
    history::{Decoded, History, ProvenEntry, place},
    report::{Check, CheckName},
};

/// What an enrolment binds.
pub(super) struct Identity {
    pub(super) ak: Ak,
    pub(super) ek: Ek,
}

/// The identities by the position of their enrolment; one is missing if its binding cannot be used.
pub(super) type Identities = BTreeMap<usize, Identity>;

const FALSE_LOG: &str = "keep the bundle: the operator enrolled what should have been refused";
const NO_ROOTS: &str = "give the TPM manufacturers' certificates with --roots DIR";
const PRUNED: &str = "ask the log's operator for the binding's blob";
const UNVERIFIED: &str = "ask the operator why this machine was enrolled without a verified EK certificate";
const UNKNOWN_ROOT: &str = "if you trust the TPM's manufacturer, add its root and intermediates to --roots";

/// For each enrolment: 1. the binding is there and is of this agent; 2. the EK is an endorsement key; 3. the AK is a
/// restricted signing key; 4. the EK certificate is for this EK; 5. and leads to one of the auditor's roots, valid when
/// the agent was enrolled.
pub(super) fn check(
    history: &History,
    blobs: &Blobs<'_>,
    agent: &AgentId,
    question: &Question<'_>,
) -> (Check, Identities) {
    let mut check = Check::new(CheckName::Identity);
    let mut identities = Identities::new();
    for (position, entry) in history.entries().iter().enumerate() {
        let Decoded::Enrol(enrol) = &entry.body else { continue };
        check.examine();
        let Some(bytes) = blobs.get(&enrol.binding) else {
            check.doubt(place(entry), "its binding is not in the bundle", PRUNED);
            continue;
        };
        match bind(bytes, agent) {
            Err(problem) => check.refute(place(entry), problem, FALSE_LOG),
            Ok((binding, identity)) => {
                check_certificate(&binding, &identity.ek, enrol, entry, question, &mut check);
                identities.insert(position, identity);
            }
        }
    }
    (check, identities)
}

fn bind(bytes: &[u8], agent: &AgentId) -> Result<(Binding, Identity), String> {
    let binding =
        Binding::decode(bytes).map_err(|error| format!("its binding is malformed: {}", cause::chain(&error)))?;
    if binding.version != 1 {
        return Err(format!("its binding has version {}; expected 1", binding.version));
    }
    // Another agent's binding would lend this one the keys of another machine.
    if binding.agent != *agent {
        return Err(format!("its binding is of agent {}; expected {agent}", binding.agent));
    }
    let ek =
        Public::from_tpm2b(&binding.ek).map_err(|error| format!("its EK is malformed: {}", cause::chain(&error)))?;
    let ek = Ek::new(ek).map_err(|error| format!("its EK is no endorsement key: {}", cause::chain(&error)))?;
    let ak =
        Public::from_tpm2b(&binding.ak).map_err(|error| format!("its AK is malformed: {}", cause::chain(&error)))?;
    // A key without these attributes would sign made-up quotes.
    let ak = Ak::new(ak).map_err(|error| format!("its AK is no attestation key: {}", cause::chain(&error)))?;
    Ok((binding, Identity { ak, ek }))
}

fn check_certificate(
    binding: &Binding,
    ek: &Ek,
    enrol: &Enrol,
    entry: &ProvenEntry,
    question: &Question<'_>,
    check: &mut Check,
) {
    let place = place(entry);
    // What was enrolled as unverified is not a lie, but nothing shows that a TPM holds the keys.
    let claimed = enrol.ek_certificate == 0;
    let mut fail = |problem: String, remedy: &'static str| {
        if claimed {
            check.refute(place.clone(), problem, remedy);
        } else {
            check.doubt(place.clone(), format!("{problem}; the operator recorded it as unverified"), UNVERIFIED);
        }
    };
    let Some(der) = &binding.ek_certificate else {
        return fail("the binding has no EK certificate".to_owned(), FALSE_LOG);
    };
    let certificate = match EkCertificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => return fail(format!("the EK certificate is malformed: {}", cause::chain(&error)), FALSE_LOG),
    };
    if let Err(error) = certificate.check_key(ek) {
        return fail(cause::chain(&error), FALSE_LOG);
    }
    let Some(roots) = question.roots else {
        let problem = "the EK certificate fits the EK; whether a TPM manufacturer issued it could not be checked";
        return check.doubt(place, problem, NO_ROOTS);
    };
    let presented: Vec<Certificate> = binding
        .chain
        .iter()
        .filter_map(|der| EkCertificate::parse(der).ok())
        .map(|certificate| certificate.deref().clone())
        .collect();
    let at = i64::try_from(entry.recorded.0 / 1_000).unwrap_or(i64::MAX);
    if let Err(error) = roots.verify_chain(&certificate, &presented, at) {
        fail(format!("the EK certificate does not lead to a trusted root: {}", cause::chain(&error)), UNKNOWN_ROOT);
    }
}
