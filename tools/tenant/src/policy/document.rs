//! A runtime policy as it is edited: Keylime's JSON, member by member.

use std::{collections::BTreeMap, path::Path};

use evidence::runtime_policy::{Extension, PolicyBuilder, RuntimePolicy, ViolationChoice};
use serde::{Deserialize, Serialize};

use super::ordered::Ordered;
use crate::failure::Failure;

/// Lists of digests by path, keyring or name.
pub(super) type Lists = BTreeMap<String, Vec<String>>;

/// A runtime policy's JSON. Its members are checked by [`RuntimeDocument::parse`] and [`RuntimeDocument::compile`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuntimeDocument {
    pub(super) meta: Meta,
    pub(super) release: u64,
    #[serde(alias = "hashes")]
    pub(super) digests: Lists,
    pub(super) excludes: Vec<String>,
    pub(super) keyrings: Lists,
    pub(super) ima: Ima,
    #[serde(rename = "ima-buf")]
    pub(super) ima_buf: Lists,
    #[serde(rename = "verification-keys")]
    pub(super) verification_keys: String,
    #[serde(rename = "x-attestry", default, skip_serializing_if = "Own::is_default")]
    pub(super) own: Own,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Meta {
    pub(super) version: u32,
    #[serde(default)]
    pub(super) generator: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ima {
    #[serde(default)]
    pub(super) ignored_keyrings: Vec<String>,
    #[serde(default = "sha1")]
    pub(super) log_hash_alg: String,
    /// Rules over device-mapper records: of several that fit a device the first counts.
    #[serde(default)]
    pub(super) dm_policy: Option<Ordered>,
}

fn sha1() -> String {
    "sha1".to_owned()
}

/// What Keylime's format has no place for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Own {
    pub(super) pcr_extension: Extension,
    pub(super) violations: Vec<Violation>,
    pub(super) critical_data: Lists,
}

impl Own {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Violation {
    pub(super) path: String,
    pub(super) choice: ViolationChoice,
}

impl RuntimeDocument {
    /// A policy that allows nothing.
    pub(super) fn new() -> Self {
        Self {
            meta: Meta { version: 1, generator: GENERATOR, timestamp: None },
            release: 0,
            digests: Lists::new(),
            excludes: Vec::new(),
            keyrings: Lists::new(),
            ima: Ima { ignored_keyrings: Vec::new(), log_hash_alg: sha1(), dm_policy: None },
            ima_buf: Lists::new(),
            verification_keys: String::new(),
            own: Own::default(),
        }
    }

    /// Reads a policy by the verifier's own rules; `path` names it in errors.
    pub(super) fn parse(json: &[u8], path: &Path) -> Result<Self, Failure> {
        let reading = || format!("read {} as a runtime policy", path.display());
        let builder = PolicyBuilder::from_keylime_json(json).map_err(|error| Failure::system(reading(), error))?;
        builder.compile().map_err(|error| Failure::system(reading(), error))?;
        serde_json::from_slice(json).map_err(|error| Failure::system(reading(), error))
    }

    /// The policy's text, and what the verifier makes of it.
    pub(super) fn compile(&self) -> Result<(Vec<u8>, RuntimePolicy), Failure> {
        let failed = |doing: &'static str| move |error| Failure::system(doing, error);
        let mut json = serde_json::to_vec_pretty(self).map_err(failed("write the policy"))?;
        json.push(b'\n');
        let builder =
            PolicyBuilder::from_keylime_json(&json).map_err(|error| Failure::system("use the policy", error))?;
        let compiled = builder.compile().map_err(|error| {
            Failure::system("use the policy", error).remedy("correct what is named; nothing was written")
        })?;
        Ok((json, compiled))
    }

    /// Marks the policy as made now.
    pub(super) fn stamp(&mut self) {
        let now = i64::try_from(crate::clock::now().0).unwrap_or_default();
        let time = chrono::DateTime::from_timestamp_millis(now);
        self.meta = Meta {
            version: 1,
            generator: GENERATOR,
            timestamp: time.map(|time| time.format("%Y-%m-%d %H:%M:%S").to_string()),
        };
    }
}

/// Adds a digest unless it is there.
pub(super) fn add(lists: &mut Lists, path: String, digest: String) {
    let digests = lists.entry(path).or_default();
    if !digests.contains(&digest) {
        digests.push(digest);
    }
}

/// Adds a text unless it is there.
pub(super) fn add_text(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

/// What Keylime's tool marks policies made from lists with.
const GENERATOR: u32 = 3;
