//! The answer envelope of the Keylime v2 API, for success and failure alike.

use serde::{Deserialize, Serialize};

/// `{"code": …, "status": "…", "results": …}`.
///
/// `code` repeats the HTTP status. `results` is an object, or null for an agent's
/// answer to a POST; a missing member is read as null.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope<T> {
    /// The HTTP status again.
    pub code: u16,
    /// `Success`, or what went wrong, for a person to read.
    pub status: String,
    /// The answer itself.
    pub results: T,
}

impl<T> Envelope<T> {
    /// A success around `results`.
    pub fn success(results: T) -> Self {
        Self { code: 200, status: "Success".to_owned(), results }
    }
}

/// An empty JSON object, the `results` of an answer that has none.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Empty {}

impl Envelope<Empty> {
    /// A failure with HTTP status `code` and a reason for the peer to read.
    pub fn failure(code: u16, status: impl Into<String>) -> Self {
        Self { code, status: status.into(), results: Empty {} }
    }
}
