//! Single requests: the address, the limits and what a status means.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use messages::envelope::{Empty, Envelope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transport::client::{Client, Outgoing};

use crate::error::RequestError;

/// Sends requests to one ledger.
#[derive(Clone)]
pub(crate) struct Requests {
    base: String,
    client: Client,
    timeout: Duration,
}

impl Requests {
    pub(crate) fn new(client: Client, url: &str, timeout: Duration) -> Self {
        Self { base: url.trim_end_matches('/').to_owned(), client, timeout }
    }

    pub(crate) async fn get(&self, path: &str, answer_bytes_max: usize) -> Result<Bytes, RequestError> {
        self.send(Outgoing { answer_bytes_max, ..self.outgoing(Method::GET, path) }).await
    }

    pub(crate) async fn get_cbor<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        answer_bytes_max: usize,
    ) -> Result<T, RequestError> {
        let bytes = self.get(path, answer_bytes_max).await?;
        let expected = std::any::type_name::<T>();
        messages::cbor::decode(&bytes).map_err(|_| RequestError::malformed(path, expected))
    }

    pub(crate) async fn post_cbor(&self, path: &str, body: Bytes, answer_max: usize) -> Result<Bytes, RequestError> {
        let outgoing = Outgoing { answer_bytes_max: answer_max, ..self.outgoing(Method::POST, path) };
        self.send(outgoing.with_body("application/cbor", body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Vec<u8>) -> Result<Bytes, RequestError> {
        self.send(self.outgoing(Method::PUT, path).with_body("application/octet-stream", body)).await
    }

    fn outgoing(&self, method: Method, path: &str) -> Outgoing {
        Outgoing { timeout: self.timeout, ..Outgoing::new(method, format!("{}{path}", self.base)) }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<Bytes, RequestError> {
        let answer = self.client.request(outgoing).await.map_err(RequestError::Client)?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let text = match serde_json::from_slice::<Envelope<Empty>>(&answer.body) {
            Ok(envelope) => envelope.status,
            Err(_) => String::from_utf8_lossy(&answer.body).chars().take(REASON_CHARS_MAX).collect(),
        };
        Err(RequestError::Status { status: answer.status, text })
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A refusal that is no envelope of ours is kept up to a few lines, enough to recognise it.
const REASON_CHARS_MAX: usize = 300;
