//! Import of Keylime's JSON, read in one pass without keeping its text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::builder::{PolicyBuilder, Table};
use super::device_mapper::DeviceMapperText;
use super::rules::{Extension, Meta, RulesText, ViolationRule};
use crate::json::UniqueMap;

/// Why a text is no runtime policy of Keylime's.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not JSON, or a member is missing, unknown, doubled or of the wrong kind.
    #[error("this is not a runtime policy in Keylime's JSON")]
    Json {
        /// Where and what.
        source: serde_json::Error,
    },
    /// A later format than version 1.
    #[error("meta.version is {found}, expected 0 to 1")]
    Version {
        /// The version found.
        found: u32,
    },
}

impl PolicyBuilder {
    /// Reads Keylime's runtime policy JSON (version 1, of any generator; also its predecessor with `hashes`), and our
    /// own `x-attestry` member.
    ///
    /// A member this verifier does not know is an error: it may ask for something.
    ///
    /// # Errors
    /// [`ImportError`] with line and column for what the JSON has wrong.
    pub fn from_keylime_json(json: &[u8]) -> Result<Self, ImportError> {
        let mut builder = Self::new();
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let top = Top { builder: &mut builder };
        top.deserialize(&mut deserializer).map_err(|source| ImportError::Json { source })?;
        deserializer.end().map_err(|source| ImportError::Json { source })?;
        if builder.rules.meta.version > 1 {
            return Err(ImportError::Version { found: builder.rules.meta.version });
        }
        builder.refuse_doubles_so_far();
        Ok(builder)
    }
}

/// The policy's object.
struct Top<'b> {
    builder: &'b mut PolicyBuilder,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a runtime policy with meta, release, digests, excludes, keyrings, ima, ima-buf, verification-keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: Vec<Cow<'de, str>> = Vec::new();
        let mut rules = RulesText::default();
        while let Some(Text(name)) = map.next_key()? {
            // The old name; one policy has only one of the two.
            let name = if name == "hashes" { Cow::Borrowed("digests") } else { name };
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("member {name:?} is there twice")));
            }
            match name.as_ref() {
                "meta" => rules.meta = map.next_value()?,
                "release" => rules.release = map.next_value()?,
                "digests" => map.next_value_seed(Lists { builder: self.builder, table: Table::Files })?,
                "keyrings" => map.next_value_seed(Lists { builder: self.builder, table: Table::Keyrings })?,
                "ima-buf" => map.next_value_seed(Lists { builder: self.builder, table: Table::Buffers })?,
                "excludes" => rules.excludes = map.next_value()?,
                "verification-keys" => rules.verification_keys = map.next_value()?,
                "ima" => {
                    let ima: Ima = map.next_value()?;
                    rules.ignored_keyrings = ima.ignored_keyrings;
                    rules.log_hash_alg = ima.log_hash_alg.unwrap_or(rules.log_hash_alg);
                    rules.device_mapper = ima.dm_policy;
                }
                "x-attestry" => {
                    let own: Own = map.next_value()?;
                    rules.extension = own.pcr_extension;
                    rules.violations = own.violations;
                    rules.critical_data = own.critical_data.into_iter().collect();
                }
                other => return Err(A::Error::custom(format_args!("unknown member {other:?}"))),
            }
            seen.push(name);
        }
        let missing = REQUIRED.iter().find(|name| !seen.iter().any(|seen| seen == *name));
        if let Some(name) = missing {
            return Err(A::Error::custom(format_args!("member {name:?} is missing")));
        }
        self.builder.rules = rules;
        Ok(())
    }
}

/// `{"path": ["hex", …], …}`.
struct Lists<'b> {
    builder: &'b mut PolicyBuilder,
    table: Table,
}

impl<'de> DeserializeSeed<'de> for Lists<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Lists<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of paths with lists of hex digests for {}", self.table.name())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(path)) = map.next_key()? {
            map.next_value_seed(Digests { builder: self.builder, table: self.table, path: &path })?;
        }
        Ok(())
    }
}

/// `["hex", …]`.
struct Digests<'a> {
    builder: &'a mut PolicyBuilder,
    table: Table,
    path: &'a str,
}

impl<'de> DeserializeSeed<'de> for Digests<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Digests<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of hex digests for {:?}", self.path)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let start = self.builder.digest_bytes();
        while let Some(Text(digest)) = seq.next_element()? {
            let pushed = self.builder.push_digest(&digest);
            pushed.map_err(|error| A::Error::custom(format_args!("{:?}: {error}", self.path)))?;
        }
        if self.builder.digest_bytes() == start {
            return Err(A::Error::custom(format_args!("{:?} has an empty list of digests", self.path)));
        }
        self.builder.seal(self.table, self.path.as_bytes(), start);
        Ok(())
    }
}

/// A string, borrowed if the JSON has no escapes in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The `ima` member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ima {
    #[serde(default)]
    ignored_keyrings: Vec<String>,
    log_hash_alg: Option<String>,
    #[serde(default)]
    dm_policy: Option<DeviceMapperText>,
}

/// What Keylime's format has no place for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Own {
    #[serde(default)]
    pcr_extension: Extension,
    #[serde(default)]
    violations: Vec<ViolationRule>,
    #[serde(default)]
    critical_data: UniqueMap<Vec<String>>,
}

impl Meta {
    /// What an import without a `meta` of its own is marked with: Keylime's generator 3, a legacy list.
    pub(super) const fn legacy() -> Self {
        Self { version: 1, generator: 3, timestamp: None }
    }
}

/// Members every generator writes.
const REQUIRED: [&str; 8] =
    ["meta", "release", "digests", "excludes", "keyrings", "ima", "ima-buf", "verification-keys"];
