//! The logs a witness cosigns for, and the keys it trusts for each.
//!
//! ```text
//! # one key per line; a log with several keys has several lines
//! ledger.example/log1+0e8f6b0c+AZsf…
//! # a log whose origin is not its key's name has the origin after the key
//! sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8 go.sum database tree
//! ```

use std::collections::BTreeMap;

use ledger_tlog::key::{MalformedKey, NoteVerifier};

/// A log and the keys that may sign for it; any one of them suffices.
#[derive(Clone, Debug)]
pub struct Log {
    origin: String,
    keys: Vec<NoteVerifier>,
}

/// All logs a witness cosigns for, by origin.
#[derive(Clone, Debug, Default)]
pub struct Logs(BTreeMap<String, Log>);

impl Log {
    /// What the log calls itself in the first line of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The keys that may sign for it; at least one.
    #[must_use]
    pub fn keys(&self) -> &[NoteVerifier] {
        &self.keys
    }
}

impl Logs {
    /// Reads a list, one key per line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`MalformedLogs`], naming the line.
    pub fn parse(text: &str) -> Result<Self, MalformedLogs> {
        let mut logs = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                logs.add(line).map_err(|source| MalformedLogs { number, source })?;
            }
        }
        Ok(logs)
    }

    /// Adds a key: `<vkey>`, or `<vkey> <origin>` where the origin is not the key's name.
    ///
    /// # Errors
    /// [`MalformedLog`].
    pub fn add(&mut self, line: &str) -> Result<(), MalformedLog> {
        let (vkey, origin) = match line.split_once([' ', '\t']) {
            Some((vkey, origin)) => (vkey, Some(origin.trim())),
            None => (line, None),
        };
        let key: NoteVerifier = vkey.parse().map_err(|source| MalformedLog::Key { source })?;
        // Without the log's own signature everybody could make the witness cosign.
        if !key.may_be_log() || !key.is_verifiable() {
            return Err(MalformedLog::Kind { name: key.name().to_string() });
        }
        let origin = origin.unwrap_or(key.name().as_str()).to_owned();
        let log = self.0.entry(origin.clone()).or_insert_with(|| Log { origin, keys: Vec::new() });
        // Two keys under one name and ID: which of them signed could not be said.
        if log.keys.iter().any(|known| known.name() == key.name() && known.id() == key.id()) {
            return Err(MalformedLog::Twice { name: key.name().to_string() });
        }
        log.keys.push(key);
        Ok(())
    }

    /// The log of an origin.
    #[must_use]
    pub fn get(&self, origin: &str) -> Option<&Log> {
        self.0.get(origin)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Logs {
    type Item = Log;
    type IntoIter = std::collections::btree_map::IntoValues<String, Log>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

/// Why text is no list of logs.
#[derive(Debug, thiserror::Error)]
#[error("line {number} of the list of logs names no log")]
pub struct MalformedLogs {
    /// Which line, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub source: MalformedLog,
}

/// Why a line names no log.
#[derive(Debug, thiserror::Error)]
pub enum MalformedLog {
    /// It does not begin with a verifier key.
    #[error("not a verifier key, or a key and an origin after a space")]
    Key {
        /// What is wrong with it.
        source: MalformedKey,
    },
    /// The key is a witness's, or of a kind that cannot be verified here.
    #[error(
        "the key of {name} is none to verify a log's signature with; a log signs with Ed25519 or ECDSA P-256, or with \
         ML-DSA-44, for which OpenSSL 3.5 or later is needed"
    )]
    Kind {
        /// Name of the key.
        name: String,
    },
    /// The key is there already.
    #[error("the key of {name} is listed twice for one log")]
    Twice {
        /// Name of the key.
        name: String,
    },
}

#[cfg(test)]
mod tests;
