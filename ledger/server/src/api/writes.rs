//! What services write: entries and blobs.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use messages::Digest;
use messages::ledger::{AppendRequest, GroupResult};
use transport::router::{Request, Response};

use super::places::Places;
use super::{Refusal, cbor};
use crate::engine::{Ledger, chain};
use crate::metrics::Cause;
use crate::witnessing::Ack;

pub(super) async fn append(ledger: Arc<Ledger>, places: Places, request: Request) -> Response {
    let (request_id, begun) = (request.request_id.clone(), Instant::now());
    let metrics = &ledger.shared.metrics;
    let answered = async {
        let coverage = &ledger.shared.coverage;
        if let Some((stranger, _)) = request.query.iter().find(|(name, _)| *name != "ack") {
            return Err(Refusal::Malformed(format!("unknown parameter {stranger:?}; expected ack")));
        }
        // The route admits services alone, whose certificates have names.
        let submitter: Arc<str> = request.peer.common_name().unwrap_or_default().into();
        let _place = places.take(&submitter, request.body.len()).ok_or(Refusal::TooMany(TOO_MANY))?;
        let ack = Ack::parse(request.query.get("ack"), coverage);
        let ack = ack.map_err(|error| Refusal::Malformed(error.to_string()))?;
        // Decoding eight megabytes takes long enough to hold up others on this thread; handing a
        // small request to another thread takes longer than decoding it.
        let request = if request.body.len() <= DECODED_AT_ONCE_BYTES_MAX {
            decode(&request)?
        } else {
            let decoded = tokio::task::spawn_blocking(move || decode(&request)).await;
            decoded.map_err(|error| Refusal::broken(&error))??
        };
        let answer = ledger.append_for(submitter, request).await?;
        coverage.wait(ack, &answer).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        for result in &answer.results {
            match result {
                GroupResult::Appended(_) => {}
                GroupResult::Conflict(_) => metrics.refused(Cause::Conflict),
                GroupResult::Refused(_) => metrics.refused(Cause::Rule),
            }
        }
        let [durable, committed, witnessed] = &metrics.acks;
        let class = match ack {
            Ack::Durable => durable,
            Ack::Committed => committed,
            Ack::Witnessed => witnessed,
        };
        class.observe_time(begun.elapsed());
        Ok(cbor(&answer))
    };
    answered.await.unwrap_or_else(|refusal: Refusal| {
        metrics.refused(refusal.cause());
        refusal.into_response(&request_id)
    })
}

fn decode(request: &Request) -> Result<AppendRequest, Refusal> {
    AppendRequest::decode(&request.body)
        .map_err(|error| Refusal::Malformed(format!("the body is no AppendRequest: {}", chain(&error))))
}

pub(super) fn put_blob(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let named = digest(request)?;
    let found = Digest(openssl::sha::sha256(&request.body));
    if found != named {
        return Err(Refusal::Malformed(format!("the body has the digest {found}; expected {named}")));
    }
    if let Some(reason) = ledger.failure() {
        return Err(Refusal::Unavailable(format!("the ledger has stopped accepting entries: {reason}")));
    }
    let stored = ledger.shared.blobs.put(&named, &request.body);
    stored.map_err(|error| Refusal::Unavailable(format!("the blob cannot be stored: {error}")))?;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

/// The digest in the path: one blob has one address.
pub(super) fn digest(request: &Request) -> Result<Digest, Refusal> {
    let text = request.param("digest");
    let digest: Result<Digest, _> = text.parse();
    let digest = digest.ok().filter(|digest| digest.to_string() == text);
    digest.ok_or_else(|| Refusal::Malformed("the path has no SHA-256 digest of 64 digits 0-9 a-f".to_owned()))
}

/// What a caller learns who has as much on the way as one may have.
const TOO_MANY: &str = "Too many of this client's appends wait; send fewer at a time or larger batches";

/// Bytes of a request that take less than about 20 microseconds to decode.
const DECODED_AT_ONCE_BYTES_MAX: usize = 32 * 1024;
