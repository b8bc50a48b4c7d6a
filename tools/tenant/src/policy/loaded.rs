//! A policy file of any kind, told apart by its members.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::measured_boot::{KeylimePolicyName, Policy};
use serde_json::{Map, Value};

use super::{document::RuntimeDocument, file};
use crate::failure::Failure;

/// A policy that was read and found well-formed.
#[derive(Clone, Debug)]
pub(super) enum Loaded {
    /// The declarative format: `docs/spec/measured-boot-policy.md`.
    MeasuredBoot(Map<String, Value>),
    /// Keylime's reference state for its policy `example`.
    ReferenceState(Map<String, Value>),
    /// Keylime's runtime policy.
    Runtime(Box<RuntimeDocument>),
}

impl Loaded {
    /// Reads a policy. One in an envelope is taken out of it, its signature not looked at.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        Self::parse(&file::read(path)?, path)
    }

    pub(super) fn parse(json: &[u8], path: &Path) -> Result<Self, Failure> {
        let top: Map<String, Value> = serde_json::from_slice(json).map_err(|error| {
            Failure::system(format_args!("read {} as a policy", path.display()), error)
                .remedy("expected JSON; flat lists become policies by: attestry policy create runtime --flat-list FILE")
        })?;
        if let Some(payload) = top.get("payload").and_then(Value::as_str).filter(|_| top.contains_key("signatures")) {
            let payload = STANDARD
                .decode(payload)
                .or_else(|_| hex::decode(payload))
                .map_err(|error| Failure::system(format_args!("read the payload of {}", path.display()), error))?;
            eprintln!("attestry: {} is signed; its signature was not checked here", path.display());
            return Self::parse_bare(&payload, path);
        }
        Self::parse_bare(json, path)
    }

    fn parse_bare(json: &[u8], path: &Path) -> Result<Self, Failure> {
        let reading = |error| Failure::system(format_args!("read {} as a measured-boot policy", path.display()), error);
        let top: Map<String, Value> = serde_json::from_slice(json)
            .map_err(|error| Failure::system(format_args!("read {} as a policy", path.display()), error))?;
        let has = |name: &str| top.contains_key(name);
        if has("accept") {
            Policy::from_json(json).map_err(reading)?;
            Ok(Self::MeasuredBoot(top))
        } else if has("scrtm_and_bios") || has("has_secureboot") {
            Policy::keylime(KeylimePolicyName::Example, json).map_err(reading)?;
            Ok(Self::ReferenceState(top))
        } else if has("digests") || has("hashes") || has("ima") {
            RuntimeDocument::parse(json, path).map(|document| Self::Runtime(Box::new(document)))
        } else {
            Err(Failure::new(format!("{} is no policy of a known kind", path.display())).remedy(
                "expected a runtime policy (digests, ima, …), a measured-boot policy (version, accept) or a reference state (scrtm_and_bios, kernels, …)",
            ))
        }
    }

    /// What kind it is, in words.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::MeasuredBoot(_) => "measured-boot policy",
            Self::ReferenceState(_) => "reference state",
            Self::Runtime(_) => "runtime policy",
        }
    }

    /// As JSON for comparing; lists and rules whose order counts say so.
    pub(super) fn to_value(&self) -> Result<Value, Failure> {
        match self {
            Self::MeasuredBoot(members) | Self::ReferenceState(members) => Ok(Value::Object(members.clone())),
            Self::Runtime(document) => {
                let mut value =
                    serde_json::to_value(document).map_err(|error| Failure::system("write the policy", error))?;
                if let (Some(rules), Some(shown)) = (&document.ima.dm_policy, value.pointer_mut("/ima/dm_policy")) {
                    *shown = rules.placed();
                }
                Ok(value)
            }
        }
    }
}
