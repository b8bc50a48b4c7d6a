//! PCR 7: Secure Boot's state, its keys, and what images were verified with.
//!
//! The register is relied on as a whole. A machine that booted with Secure Boot off has measured so as its first event,
//! and whoever presents the log can neither leave it out nor give it another meaning: each event before the separator
//! must be a variable whose digest covers vendor, name and value; after it only authorities may follow.

use std::cell::{LazyCell, OnceCell};
use std::collections::BTreeSet;

use crate::algorithm::{Digest, HashAlgorithm};
use crate::boot_log::{
    Authority, EventDetails, EventType, ExaminedEvent, Guid, SeparatorValue, SignatureKind, SignatureList, Variable,
    VariableValue,
};
use crate::crypto::CryptoUnavailable;
use crate::pcr::PcrIndex;

use super::alternative::{KeyId, Keys, SecureBoot};
use super::case::Case;
use super::finding::{Accepted, FindingKind, Findings};

/// Adds what is wrong with PCR 7. Without `required`, Secure Boot must be on, since signers are worth nothing otherwise.
pub(super) fn judge(
    required: Option<&SecureBoot>,
    signers: Option<&Keys>,
    case: &Case<'_>,
    findings: &mut Findings,
) -> Result<(), CryptoUnavailable> {
    let Some(register) = PcrIndex::all().nth(7) else { return Ok(()) };
    let mut reading = Reading {
        state: None,
        seen: BTreeSet::new(),
        authorities: 0,
        is_separated: false,
        accepted_signers: OnceCell::new(),
    };
    let mut state_event = None;
    for event in case.measured(register) {
        reading.read(event, required, signers, findings)?;
        state_event = state_event.or(reading.state.map(|_| event));
    }
    let expected = required.is_none_or(|required| required.enabled);
    match reading.state {
        Some(state) if state == expected => (),
        Some(_) => {
            state_event.into_iter().for_each(|event| findings.add_at(event, FindingKind::SecureBootState { expected }));
        }
        None => findings.add(FindingKind::Missing { what: "SecureBoot variable before the separator of PCR 7" }),
    }
    if !reading.is_separated {
        findings.add(FindingKind::Missing { what: "separator in PCR 7" });
    }
    if signers.is_some() && reading.authorities == 0 {
        findings.add(FindingKind::Missing { what: "authority in PCR 7 that an image was verified with" });
    }
    for (name, is_stated) in required.into_iter().flat_map(stated_databases) {
        if is_stated && !reading.seen.contains(name) {
            findings.add(FindingKind::Missing { what: name });
        }
    }
    Ok(())
}

fn stated_databases(required: &SecureBoot) -> [(&'static str, bool); 4] {
    [
        ("PK", required.pk.is_some()),
        ("KEK", required.kek.is_some()),
        ("db", required.db.is_some()),
        ("dbx", !required.dbx_required.is_empty()),
    ]
}

struct Reading {
    state: Option<bool>,
    /// Databases found, by name.
    seen: BTreeSet<&'static str>,
    authorities: usize,
    is_separated: bool,
    /// In words, once an authority is none of them.
    accepted_signers: OnceCell<Accepted>,
}

impl Reading {
    fn read(
        &mut self,
        event: &ExaminedEvent<'_, '_>,
        required: Option<&SecureBoot>,
        signers: Option<&Keys>,
        findings: &mut Findings,
    ) -> Result<(), CryptoUnavailable> {
        if !event.is_covered_whole() {
            findings.unexplained(event);
            return Ok(());
        }
        match &event.details {
            // Some firmware separates twice; only what stands before the first one is the firmware's word.
            EventDetails::Separator(SeparatorValue::HandOver) => self.is_separated = true,
            EventDetails::Action(action) if required.is_some_and(|required| required.actions.contains(action)) => (),
            EventDetails::Variable(variable) if event.event.event_type() == EventType::EFI_VARIABLE_AUTHORITY => {
                self.authority(event, variable, signers, findings)?;
            }
            EventDetails::Variable(variable)
                if event.event.event_type() == EventType::EFI_VARIABLE_DRIVER_CONFIG && !self.is_separated =>
            {
                self.variable(event, variable, required, findings)?;
            }
            _ => findings.unexplained(event),
        }
        Ok(())
    }

    fn variable(
        &mut self,
        event: &ExaminedEvent<'_, '_>,
        variable: &Variable<'_>,
        required: Option<&SecureBoot>,
        findings: &mut Findings,
    ) -> Result<(), CryptoUnavailable> {
        match &variable.value {
            VariableValue::Switch(state) if variable.is(Guid::GLOBAL_VARIABLE, "SecureBoot") => {
                if self.state.is_some() {
                    findings.add_at(event, FindingKind::Repeated { what: "the SecureBoot variable" });
                }
                self.state = Some(*state);
            }
            // SetupMode, AuditMode and DeployedMode say how the keys may be changed, and follow from the keys.
            VariableValue::Switch(_) if variable.vendor == Guid::GLOBAL_VARIABLE => (),
            VariableValue::SignatureDatabase(lists) => self.database(event, variable, lists, required, findings)?,
            _ => findings.unexplained(event),
        }
        Ok(())
    }

    fn database(
        &mut self,
        event: &ExaminedEvent<'_, '_>,
        variable: &Variable<'_>,
        lists: &[SignatureList<'_>],
        required: Option<&SecureBoot>,
        findings: &mut Findings,
    ) -> Result<(), CryptoUnavailable> {
        let databases = [
            (Guid::GLOBAL_VARIABLE, "PK", required.and_then(|required| required.pk.as_ref())),
            (Guid::GLOBAL_VARIABLE, "KEK", required.and_then(|required| required.kek.as_ref())),
            (Guid::IMAGE_SECURITY_DATABASE, "db", required.and_then(|required| required.db.as_ref())),
            (Guid::IMAGE_SECURITY_DATABASE, "dbx", None),
            // Timestamping and recovery authorities; neither lets an image boot.
            (Guid::IMAGE_SECURITY_DATABASE, "dbt", None),
            (Guid::IMAGE_SECURITY_DATABASE, "dbr", None),
        ];
        let found = databases.into_iter().find(|(vendor, name, _)| variable.is(*vendor, name));
        let Some((_, database, accepted)) = found else {
            findings.unexplained(event);
            return Ok(());
        };
        if !self.seen.insert(database) {
            findings.add_at(event, FindingKind::Repeated { what: database });
        }
        let missing = required.filter(|_| database == "dbx").map(|required| &required.dbx_required);
        if accepted.is_none() && missing.is_none_or(BTreeSet::is_empty) {
            return Ok(());
        }
        let keys = keys(lists)?;
        let shown = LazyCell::new(|| Accepted::of(accepted.into_iter().flatten()));
        for key in accepted.into_iter().flat_map(|accepted| keys.difference(accepted)) {
            let (key, accepted) = (key.to_string(), Accepted::clone(&shown));
            findings.add_at(event, FindingKind::KeyNotAccepted { database, key, accepted });
        }
        for key in missing.into_iter().flat_map(|required| required.difference(&keys)) {
            findings.add_at(event, FindingKind::KeyRequired { database, key: key.to_string() });
        }
        Ok(())
    }

    /// The entry an image was verified with, or what shim records in the same way.
    fn authority(
        &mut self,
        event: &ExaminedEvent<'_, '_>,
        variable: &Variable<'_>,
        signers: Option<&Keys>,
        findings: &mut Findings,
    ) -> Result<(), CryptoUnavailable> {
        match (&variable.value, variable.name.as_str()) {
            (VariableValue::SbatLevel(_) | VariableValue::Switch(_), _) if variable.vendor == Guid::SHIM_LOCK => (),
            (VariableValue::Authority(authority), "db" | "Shim" | "MokList" | "MokListRT" | "vendor_db") => {
                self.authorities += 1;
                let Some(signers) = signers else { return Ok(()) };
                let key = authority_key(authority)?;
                if !signers.contains(&key) {
                    let accepted = self.accepted_signers.get_or_init(|| Accepted::of(signers)).clone();
                    let (database, key) = ("authority", key.to_string());
                    findings.add_at(event, FindingKind::KeyNotAccepted { database, key, accepted });
                }
            }
            _ => findings.unexplained(event),
        }
        Ok(())
    }
}

/// The entries of a database as policies name them.
fn keys(lists: &[SignatureList<'_>]) -> Result<Keys, CryptoUnavailable> {
    let mut keys = Keys::new();
    for list in lists {
        for signature in &list.signatures {
            keys.insert(key(list.kind, signature.data)?);
        }
    }
    Ok(keys)
}

fn key(kind: SignatureKind, data: &[u8]) -> Result<KeyId, CryptoUnavailable> {
    let digest = || HashAlgorithm::Sha256.digest(data);
    Ok(match (kind, Digest::new(HashAlgorithm::Sha256, data)) {
        (SignatureKind::ImageSha256, Ok(image)) => KeyId::Image(image),
        (SignatureKind::X509, _) => KeyId::X509(digest()?),
        (other, _) => KeyId::Other(other, digest()?),
    })
}

fn authority_key(authority: &Authority<'_>) -> Result<KeyId, CryptoUnavailable> {
    // An image's digest has 32 bytes and no certificate is as short.
    let kind = if authority.data.len() == 32 { SignatureKind::ImageSha256 } else { SignatureKind::X509 };
    key(kind, authority.data)
}
