//! The routes: who may ask what, and which answer means what. Source: `docs/spec/ledger-api.md`.

pub(crate) mod monitoring;
mod places;
mod proofs;
mod prune;
mod pruned;
mod reads;
mod receipts;
mod stamps;
mod tiles;
mod writes;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use messages::AgentId;
use messages::envelope::Envelope;
use messages::ledger::{APPEND_BYTES_MAX, BLOB_BYTES_MAX, FLEET_PATH};
use serde::Serialize;
use transport::router::{Access, Request, Response, Route};

use self::places::Places;
use crate::engine::{AppendFailed, Ledger, chain};
use crate::metrics::Cause;
use crate::pruned::Pruned;

/// Every route of a ledger. With `public_read`, checkpoint and tiles need no certificate; all
/// else that is read always does.
pub(crate) fn routes(ledger: &Arc<Ledger>, public_read: bool) -> Vec<Route> {
    let tiles = if public_read { Access::PUBLIC } else { Access::READER };
    let get = |pattern, access, handler| route(ledger, Method::GET, pattern, access, 0, handler);
    let append = Arc::clone(ledger);
    let places = Places::default();
    let mut routes = vec![
        Route::new(Method::POST, "/ledger/v1/append", Access::SERVICE, APPEND_BYTES_MAX, move |request| {
            writes::append(Arc::clone(&append), places.clone(), request)
        }),
        route(ledger, Method::PUT, "/ledger/v1/blobs/:digest", Access::SERVICE, BLOB_BYTES_MAX, writes::put_blob),
        get("/ledger/v1/blobs/:digest", Access::READER, reads::blob),
        get("/ledger/v1/heads/:chain", Access::READER, reads::head),
        get("/ledger/v1/agents/:chain/entries", Access::READER, reads::entries),
        get("/ledger/v1/agents/:chain/seq-at", Access::READER, reads::seq_at),
        get("/ledger/v1/agents/:chain/interval-proof", Access::READER, proofs::agent),
        get("/ledger/v1/fleet/interval-proof", Access::READER, proofs::fleet),
        get("/ledger/v1/entries/:index", Access::READER, reads::entry),
        get("/ledger/v1/kept", Access::READER, reads::kept),
        get("/ledger/v1/pruned/boundary", Access::READER, pruned::boundary),
        get("/ledger/v1/pruned/histories", Access::READER, pruned::histories),
        get("/ledger/v1/proof/inclusion", Access::READER, reads::inclusion),
        get("/ledger/v1/proof/consistency", Access::READER, reads::consistency),
        get("/ledger/v1/checkpoints", Access::READER, reads::checkpoints),
        get("/ledger/v1/checkpoints/:size", Access::READER, reads::checkpoint),
        get("/ledger/v1/receipts/:index", Access::READER, receipts::inclusion),
        get("/ledger/v1/consistency-receipts/:old", Access::READER, receipts::consistency),
        get("/ledger/v1/timestamps/:size", Access::READER, stamps::names),
        get("/ledger/v1/timestamps/:size/:name", Access::READER, stamps::file),
        get("/ledger/v1/info", Access::READER, reads::info),
        route(ledger, Method::POST, "/ledger/v1/prune", Access::ADMIN, prune::BODY_BYTES_MAX, prune::prune),
        get("/checkpoint", tiles, tiles::checkpoint),
        get("/tile/*path", tiles, tiles::tile),
    ];
    routes.extend(monitoring::routes(ledger, Access::READER));
    routes
}

/// What a handler does on a thread that may wait for the disk.
type Work = fn(&Ledger, &Request) -> Result<Response, Refusal>;

fn route(
    ledger: &Arc<Ledger>,
    method: Method,
    pattern: &str,
    access: Access,
    body_bytes_max: usize,
    work: Work,
) -> Route {
    let ledger = Arc::clone(ledger);
    Route::new(method, pattern, access, body_bytes_max, move |request| {
        let ledger = Arc::clone(&ledger);
        async move {
            let done = tokio::task::spawn_blocking(move || {
                work(&ledger, &request).unwrap_or_else(|refusal| {
                    ledger.shared.metrics.refused(refusal.cause());
                    refusal.into_response(&request.request_id)
                })
            });
            match done.await {
                Ok(response) => response,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    })
}

/// Why there is no answer, by whose fault it is.
#[derive(Debug)]
enum Refusal {
    /// The caller asks wrongly (400).
    Malformed(String),
    /// It was there and was pruned (410).
    Pruned { text: String, results: PrunedResults },
    /// The caller contradicts itself (422).
    Contradiction(String),
    /// There is no such thing (404).
    NotFound(&'static str),
    /// Something here is broken (500); the caller learns no details.
    Broken(String),
    /// The caller has as much on the way as one caller may have (429).
    TooMany(&'static str),
    /// Try again later (503).
    Unavailable(String),
}

/// What a caller learns of what was pruned.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct PrunedResults {
    /// First entry of the chain asked for that still has its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seq: Option<u64>,
    /// As tlog-tiles has it.
    minimum_index: u64,
    /// The entry that says so.
    policy_index: u64,
}

impl Refusal {
    /// The entries before those that this log still has were asked for.
    fn pruned(pruned: &Pruned, first_seq: Option<u64>) -> Self {
        let Pruned { minimum_index, policy_index, .. } = *pruned;
        let text = format!("Pruned: entries below {minimum_index}, as entry {policy_index} of the log says");
        Self::Pruned { text, results: PrunedResults { first_seq, minimum_index, policy_index } }
    }

    const fn cause(&self) -> Cause {
        match self {
            Self::Broken(_) => Cause::Broken,
            Self::Contradiction(_) => Cause::Contradiction,
            Self::Malformed(_) => Cause::Malformed,
            Self::NotFound(_) => Cause::NotFound,
            Self::Pruned { .. } => Cause::Pruned,
            Self::TooMany(_) => Cause::TooMany,
            Self::Unavailable(_) => Cause::Unavailable,
        }
    }

    fn broken(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Broken(chain(error))
    }

    fn into_response(self, request_id: &str) -> Response {
        match self {
            Self::Malformed(text) => refusal(StatusCode::BAD_REQUEST, &text),
            Self::Pruned { text, results } => {
                let body = Envelope { code: StatusCode::GONE.as_u16(), status: text, results };
                let body = serde_json::to_vec(&body).unwrap_or_default();
                Response::new(StatusCode::GONE, "application/json", body)
            }
            Self::Contradiction(text) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &text),
            Self::NotFound(text) => refusal(StatusCode::NOT_FOUND, text),
            Self::Broken(reason) => {
                tracing::error!(reason, request_id, "a request was not answered");
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "The ledger cannot read its own files; see its log")
            }
            Self::TooMany(text) => later(refusal(StatusCode::TOO_MANY_REQUESTS, text)),
            Self::Unavailable(text) => later(refusal(StatusCode::SERVICE_UNAVAILABLE, &text)),
        }
    }
}

impl From<AppendFailed> for Refusal {
    fn from(failed: AppendFailed) -> Self {
        match failed {
            AppendFailed::KeyReused => Self::Contradiction(failed.to_string()),
            AppendFailed::Refused(reason) => Self::Malformed(reason.to_string()),
            AppendFailed::Pruned { .. } => Self::Pruned { text: failed.to_string(), results: PrunedResults::default() },
            AppendFailed::Busy | AppendFailed::Failed { .. } | AppendFailed::Stopping => {
                Self::Unavailable(failed.to_string())
            }
        }
    }
}

/// With the time after which another attempt makes sense: a second, in which a disk writes far more
/// than can wait for it.
fn later(refusal: Response) -> Response {
    refusal.with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

fn refusal(status: StatusCode, text: &str) -> Response {
    let body = serde_json::to_vec(&Envelope::failure(status.as_u16(), text)).unwrap_or_default();
    Response::new(status, "application/json", body)
}

fn cbor<T: Serialize>(value: &T) -> Response {
    Response::new(StatusCode::OK, "application/cbor", messages::cbor::encode(value))
}

/// Bytes that are the same for ever under this address.
fn immutable(bytes: Vec<u8>) -> Response {
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    Response::new(StatusCode::OK, "application/octet-stream", bytes).with_header(CACHE_CONTROL, forever)
}

/// A note. `Cache-Control` as given: the latest one is soon old, one of a given size never.
fn note(bytes: Vec<u8>, cache: &'static str) -> Response {
    let cache = HeaderValue::from_static(cache);
    Response::new(StatusCode::OK, "text/plain; charset=utf-8", bytes).with_header(CACHE_CONTROL, cache)
}

/// The chain a path names: an agent's, or the fleet's.
fn chain_of(request: &Request) -> Result<Option<AgentId>, Refusal> {
    let name = request.param("chain");
    if name == FLEET_PATH {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|error: messages::AgentIdError| Refusal::Malformed(error.to_string()))
}

/// A decimal number without sign or leading zeros.
fn number(text: &str, name: &str) -> Result<u64, Refusal> {
    let parsed = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    parsed.ok_or_else(|| Refusal::Malformed(format!("{name} is {text:?}; expected a decimal number")))
}

/// The query's parameters `names`, and no others; those without a default must be there.
fn numbers<const N: usize>(request: &Request, names: [(&str, Option<u64>); N]) -> Result<[u64; N], Refusal> {
    if let Some((stranger, _)) = request.query.iter().find(|(name, _)| !names.iter().any(|(known, _)| known == name)) {
        let known = names.map(|(name, _)| name).join(", ");
        return Err(Refusal::Malformed(format!("unknown parameter {stranger:?}; expected {known}")));
    }
    let mut found = [0; N];
    for (slot, (name, default)) in found.iter_mut().zip(names) {
        *slot = match (request.query.get(name), default) {
            (Some(text), _) => number(text, name)?,
            (None, Some(default)) => default,
            (None, None) => return Err(Refusal::Malformed(format!("the parameter {name} is missing"))),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
