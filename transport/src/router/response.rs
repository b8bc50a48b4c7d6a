//! What a handler gives back, and the answers the router gives by itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::json;

/// A whole answer: status, header fields and body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The body, sent with its length.
    pub body: Bytes,
    /// Header fields beside those the server adds (length, date, `X-Request-ID`).
    pub headers: HeaderMap,
    /// The HTTP status.
    pub status: StatusCode,
}

impl Response {
    /// An answer with a body of `content_type`.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::empty(status).with_header(CONTENT_TYPE, HeaderValue::from_static(content_type)).with_body(body.into())
    }

    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self { body: Bytes::new(), headers: HeaderMap::new(), status }
    }

    /// The same answer with the header field set, replacing one of that name.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// A refusal in Keylime's envelope, `{"code": 413, "status": "…", "results": {}}`.
    pub(crate) fn envelope_error(status: StatusCode, text: &str) -> Self {
        let body = json!({"code": status.as_u16(), "status": text, "results": {}});
        Self::new(status, "application/json", body.to_string())
    }

    /// A refusal of the caller itself, in the JSON:API form Keylime uses for 401 and 403 alone.
    pub(crate) fn jsonapi_error(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let code = status.as_str();
        let body = json!({"errors": [{"status": code, "title": title, "detail": detail}]});
        Self::new(status, "application/vnd.api+json", body.to_string())
    }
}
