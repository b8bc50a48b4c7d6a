//! Single requests: the address, the limits and what a status means.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderValue, RETRY_AFTER};
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

    /// Puts what may be put twice: tried again, at most [`PUT_ATTEMPTS_MAX`] times in all, while the
    /// ledger asks to be asked later.
    pub(crate) async fn put(&self, path: &str, body: Vec<u8>) -> Result<Bytes, RequestError> {
        let outgoing = self.outgoing(Method::PUT, path).with_body("application/octet-stream", body);
        for _ in 1..PUT_ATTEMPTS_MAX {
            match self.send(outgoing.clone()).await {
                Err(error)
                    if error.may_pass()
                        && let Some(pause) = error.retry_after().filter(|pause| *pause <= self.timeout) =>
                {
                    tracing::warn!(%error, path, "the ledger asks to be asked later");
                    tokio::time::sleep(pause).await;
                }
                other => return other,
            }
        }
        self.send(outgoing).await
    }

    fn outgoing(&self, method: Method, path: &str) -> Outgoing {
        Outgoing { timeout: self.timeout, ..Outgoing::new(method, format!("{}{path}", self.base)) }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<Bytes, RequestError> {
        let answer = self.client.request(outgoing).await.map_err(RequestError::Client)?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let retry_after = answer.headers.get(RETRY_AFTER).and_then(seconds);
        let text = match serde_json::from_slice::<Envelope<Empty>>(&answer.body) {
            Ok(envelope) => envelope.status,
            Err(_) => String::from_utf8_lossy(&answer.body).chars().take(REASON_CHARS_MAX).collect(),
        };
        Err(RequestError::Status { retry_after, status: answer.status, text })
    }
}

/// `Retry-After` in seconds, at most [`RETRY_AFTER_MAX`]; the form with a date is not ours.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("base", &self.base).finish_non_exhaustive()
    }
}

/// The longest pause that is taken from an answer: a wrong clock or number must not silence a caller.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How often a blob is put at most: three pauses of a second, which a full queue needs far less of.
const PUT_ATTEMPTS_MAX: u32 = 4;

/// A refusal that is no envelope of ours is kept up to a few lines, enough to recognise it.
const REASON_CHARS_MAX: usize = 300;
