//! Why a document is not a policy.

/// What is wrong with a policy's document, and where in it.
#[derive(Debug, thiserror::Error)]
pub enum MalformedPolicy {
    /// A digest is not an algorithm's name, a colon and the digest in hexadecimal.
    #[error("{place}: {found:?} is not a digest, expected such as \"sha256:\" and 64 hexadecimal digits")]
    Digest {
        /// The field.
        place: String,
        /// What is there, cut to 80 characters.
        found: String,
    },
    /// An alternative, or the document, requires nothing and would accept everything.
    #[error("{place} has no requirement; it would accept everything")]
    Empty {
        /// The part.
        place: String,
    },
    /// The bytes are not JSON, or not of the format's shape.
    #[error("the document is not a measured-boot policy of this format")]
    Json {
        /// The parser's error with line and column.
        source: serde_json::Error,
    },
    /// A key is not named as keys are.
    #[error("{place}: {found:?} is not a key, expected \"x509:\" or \"sha256:\" and 64 hexadecimal digits")]
    Key {
        /// The field.
        place: String,
        /// What is there, cut to 80 characters.
        found: String,
    },
    /// A field that the reference state must have is missing or of another type.
    #[error("{place}: expected {expected}")]
    ReferenceState {
        /// The field.
        place: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A pattern is not a regular expression of the linear-time kind, or too large.
    #[error("{place}: the pattern is not a regular expression without look-around and back-references")]
    Pattern {
        /// The field.
        place: String,
        /// The engine's error.
        source: Box<regex::Error>,
    },
    /// A register's number is not one.
    #[error("{place}: {found:?} is not a register, expected 0 to 23")]
    Register {
        /// The field.
        place: String,
        /// What is there, cut to 80 characters.
        found: String,
    },
    /// The document is larger than any policy is.
    #[error("the document has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// The named limit.
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// The document is of a version unknown here.
    #[error("version: {found}, expected 1")]
    Version {
        /// The version found.
        found: u64,
    },
}

impl MalformedPolicy {
    pub(super) fn reference_state(place: impl Into<String>, expected: &'static str) -> Self {
        Self::ReferenceState { place: place.into(), expected }
    }
}

/// A text out of the document, short enough for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Largest document: a hundred alternatives with the whole dbx in each.
pub(super) const POLICY_BYTES_MAX: usize = 4 << 20;
