//! Why a quote is not believed, as findings: no policy lifts any of these.

use evidence::{
    attest::ClockRejected,
    quote::QuoteRejected::{self, *},
};
use messages::FindingText;

/// A rejected quote, the field of it that is wrong as the place.
pub(super) fn quote(rejected: &QuoteRejected) -> FindingText {
    let new = |place: &str, found: String, expected: String| FindingText::new(place, found, expected);
    match rejected {
        Bank { expected, found } => new("quote pcrSelect", format!("bank {found}"), format!("bank {expected}")),
        EmptySelection => new("quote pcrSelect", "no register".to_owned(), "at least one".to_owned()),
        Nonce { expected, found } => {
            new("quote extraData", format!("nonce {}", hex::encode(found)), hex::encode(expected))
        }
        PcrDigest { expected, found } => {
            new("quote pcrDigest", hex::encode(found), format!("{expected}, the digest of the values supplied"))
        }
        PcrMissing { bank, index } => FindingText::new(
            format!("PCR {index} of bank {bank}"),
            "it is quoted and its value was not supplied",
            "the value that was quoted",
        ),
        PcrUnexpected { bank, index } => FindingText::new(
            format!("PCR {index} of bank {bank}"),
            "a value was supplied and it is not quoted",
            "values of quoted registers alone",
        ),
        Scheme { expected, found } => new("quote signature", found.to_string(), expected.to_string()),
        Selection { expected, found } => new("quote pcrSelect", found.to_string(), expected.to_string()),
        SelectionCount { expected, found } => {
            new("quote pcrSelect", format!("{} selections", found.len()), format!("one, {expected}"))
        }
        Signature => FindingText::new(
            "quote signature",
            "it does not verify under the attestation key",
            "a signature of the key that was enrolled",
        ),
        SignatureSize { expected, found } => {
            new("quote signature", format!("{found} bytes"), format!("{expected}, as this key signs"))
        }
        Unavailable(error) => new("quote", format!("it could not be checked: {error}"), "an answer".to_owned()),
        ValuesBank { expected, found } => {
            new("answer", format!("register values of bank {found}"), format!("bank {expected}"))
        }
        WeakBank { found } => new("quote pcrSelect", format!("bank {found}"), FLOOR.to_owned()),
        WeakHash { found } => new("quote signature", format!("hash {found}"), FLOOR.to_owned()),
    }
}

/// A clock that does not follow the last accepted one.
pub(super) fn clock(rejected: &ClockRejected) -> FindingText {
    match rejected {
        ClockRejected::ClockNotForward { previous_ms, found_ms } => FindingText::new(
            "quote clockInfo.clock",
            format!("{found_ms} ms"),
            format!("more than {previous_ms} ms, since the clock must go forward"),
        ),
        ClockRejected::ResetCountFell { previous, found } => {
            FindingText::new("quote clockInfo.resetCount", found.to_string(), format!("{previous} or more"))
        }
        ClockRejected::RestartCountFell { previous, found } => FindingText::new(
            "quote clockInfo.restartCount",
            found.to_string(),
            format!("{previous} or more without a reset"),
        ),
        ClockRejected::Unsafe => FindingText::new("quote clockInfo.safe", "a clock that is not safe", "a safe one"),
    }
}

const FLOOR: &str = "sha256 or stronger";
