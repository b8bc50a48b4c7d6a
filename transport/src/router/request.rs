//! What a handler is given.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::Params;
use super::access::Peer;
use super::query::Query;

/// One request that its route admits, its body whole and within the route's limit.
#[derive(Clone, Debug)]
pub struct Request {
    /// The body; empty when there is none.
    pub body: Bytes,
    /// The header fields as sent. Untrusted, `Authorization` included.
    pub headers: HeaderMap,
    /// Whether the request came through TLS.
    pub over_tls: bool,
    /// The method of the matched route (`GET` for a `HEAD` request that a `GET` route answers).
    pub method: Method,
    /// Who asks. [`Peer::Anonymous`] whenever an `Authorization` header came along, whatever
    /// certificate the connection shows: such a request speaks for the header's owner only.
    pub peer: Peer,
    /// The query, decoded.
    pub query: Query,
    /// The other end of the connection.
    pub remote: SocketAddr,
    /// Names this request in logs on both sides: the caller's `X-Request-ID` where it sent a
    /// well-formed one, ours otherwise. Also a header of the response.
    pub request_id: String,
    pub(crate) params: Params,
}

impl Request {
    /// The decoded path segment that matched `:name`, or the segments that matched `*name`
    /// joined by `/`. Never empty, never `.` or `..`, no control characters.
    ///
    /// # Panics
    /// If the route's pattern has no such name, which is a mistake in the code that made the route.
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        let Some(value) = self.params.get(name) else {
            panic!("invariant: a handler asks only for its pattern's parameters, not {name:?}");
        };
        value
    }
}
