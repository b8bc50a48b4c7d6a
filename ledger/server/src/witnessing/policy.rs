//! The policy file of a log: who its witnesses are, where they are, how many suffice.

use ledger_tlog::key::NoteVerifier;
use ledger_tlog::note::NOTE_SIGNATURES_MAX;
use ledger_tlog::policy::{MalformedPolicy, Policy, WitnessQuorum};

/// A tlog-policy file whose `witness` lines have the addresses that the log submits to.
#[derive(Clone, Debug)]
pub struct WitnessPolicy {
    addresses: Vec<(NoteVerifier, String)>,
    policy: Policy,
    text: Vec<u8>,
}

/// Why a file is no policy to submit by.
#[derive(Debug, thiserror::Error)]
pub enum WitnessPolicyError {
    /// It is no tlog-policy.
    #[error("the witness policy is malformed")]
    Malformed(#[source] MalformedPolicy),
    /// No witness line has an address.
    #[error("no witness of the policy has an address; expected: witness NAME VKEY URL")]
    NoAddress,
    /// A note has no room for so many cosignatures.
    #[error("the policy has {found} witnesses with an address, at most {WITNESSES_MAX} are allowed")]
    TooMany {
        /// Witnesses listed.
        found: usize,
    },
    /// An address is none that can be asked.
    #[error("the address {url:?} of the witness {name} is neither http:// nor https://")]
    Url {
        /// Name of the witness's key.
        name: String,
        /// The address.
        url: String,
    },
}

impl WitnessPolicy {
    /// Reads a policy file. Witnesses without an address count for the quorum but are not asked.
    ///
    /// # Errors
    /// [`WitnessPolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WitnessPolicyError> {
        let policy = Policy::parse(bytes).map_err(WitnessPolicyError::Malformed)?;
        // The policy keeps no addresses; its lines are known to be well-formed from here on.
        let text = String::from_utf8_lossy(bytes);
        let mut addresses = Vec::new();
        for line in text.lines() {
            let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
            let &["witness", _, vkey, url] = items.as_slice() else {
                continue;
            };
            let Ok(key) = vkey.parse::<NoteVerifier>() else { continue };
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(WitnessPolicyError::Url { name: key.name().to_string(), url: url.to_owned() });
            }
            addresses.push((key, url.trim_end_matches('/').to_owned()));
        }
        match addresses.len() {
            0 => Err(WitnessPolicyError::NoAddress),
            found if found > WITNESSES_MAX => Err(WitnessPolicyError::TooMany { found }),
            _ => Ok(Self { addresses, policy, text: bytes.to_vec() }),
        }
    }

    /// Whether any witness is asked over TLS.
    #[must_use]
    pub fn uses_tls(&self) -> bool {
        self.addresses.iter().any(|(_, url)| url.starts_with("https://"))
    }

    /// The file, as the log puts it on record.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the policy is for `log`: it lists it, or lists none.
    pub(super) fn covers(&self, log: &NoteVerifier) -> bool {
        let logs = self.policy.logs();
        logs.is_empty() || logs.iter().any(|known| known.to_string() == log.to_string())
    }

    /// Keys and submission prefixes, without a slash at the end.
    pub(super) fn addresses(&self) -> &[(NoteVerifier, String)] {
        &self.addresses
    }

    pub(super) const fn quorum(&self) -> &WitnessQuorum {
        self.policy.quorum()
    }
}

/// All lines of a note but the log's own.
const WITNESSES_MAX: usize = NOTE_SIGNATURES_MAX - 1;

#[cfg(test)]
mod tests;
