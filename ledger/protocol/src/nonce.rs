//! The challenge a quote answers: bound to a checkpoint, to the agent's history and to fresh randomness.

use std::fmt;

use messages::{AgentId, Digest, ledger::Head};
use openssl::sha::Sha256;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Separates these hashes from all others. Source: `docs/spec/entry.md`, nonce.
const LABEL: &[u8] = b"attestry/nonce/v1\0";

/// The checkpoint a nonce rests on.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, Hash, PartialEq, Serialize_tuple)]
pub struct Beacon {
    /// Entries under that checkpoint.
    pub tree_size: u64,
    /// SHA-256 of the note's bytes, signatures included.
    pub note_digest: Digest,
}

/// Everything a quote's nonce is computed from.
#[derive(Clone, Copy, Debug)]
pub struct NonceInputs<'a> {
    /// The checkpoint.
    pub beacon: Beacon,
    /// The attester.
    pub agent: &'a AgentId,
    /// Where the agent's chain ends: the number and predecessor of the quote's entry.
    pub head: Head,
    /// 32 bytes from the verifier's random source.
    pub salt: Digest,
}

/// A quote's nonce as it travels: 32 letters and digits, 160 bits.
///
/// `base32(SHA-256("attestry/nonce/v1" ‖ 00 ‖ note digest ‖ SHA-256(agent) ‖ u64 seq ‖ prev ‖
/// salt)[..20])`, RFC 4648 without padding, in lower case. The text's own bytes are the TPM's
/// qualifying data: an agent that takes alphanumeric nonces only, and a TPM that takes at most
/// 34 bytes, are both served.
#[derive(Clone, Eq, PartialEq)]
pub struct QuoteNonce(String);

impl NonceInputs<'_> {
    /// The nonce.
    #[must_use]
    pub fn derive(&self) -> QuoteNonce {
        let mut hash = Sha256::new();
        hash.update(LABEL);
        hash.update(self.beacon.note_digest.as_bytes());
        // The stateful form: openssl's one-shot looks the algorithm up anew each time.
        let mut agent = Sha256::new();
        agent.update(self.agent.as_str().as_bytes());
        hash.update(&agent.finish());
        hash.update(&self.head.seq.to_be_bytes());
        hash.update(self.head.prev.as_bytes());
        hash.update(self.salt.as_bytes());
        let digest = hash.finish();
        QuoteNonce(base32(digest.first_chunk::<20>().expect("invariant: SHA-256 has 32 bytes")))
    }
}

impl QuoteNonce {
    /// The text; its bytes are the qualifying data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for QuoteNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuoteNonce({})", self.0)
    }
}

/// RFC 4648 §6 without padding, lower case: 20 bytes are exactly 32 letters and digits.
fn base32(bytes: &[u8; 20]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(32);
    for block in bytes.chunks_exact(5) {
        let bits = block.iter().fold(0u64, |acc, byte| (acc << 8) | u64::from(*byte));
        for shift in (0..40).step_by(5).rev() {
            let index = usize::try_from((bits >> shift) & 31).unwrap_or_default();
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or_default()));
        }
    }
    text
}

#[cfg(test)]
mod tests;
