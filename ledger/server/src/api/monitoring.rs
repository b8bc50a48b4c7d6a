//! `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use http::{Method, StatusCode};
use transport::router::{Access, Request, Response, Route};

use super::{Refusal, route};
use crate::engine::Ledger;
use crate::metrics::CONTENT_TYPE;
use crate::monitoring::{Readiness, metrics};

/// What answers on the ledger's own address (`Access::READER`) or on a loopback one
/// (`Access::PUBLIC`). Whether it lives and is ready is for everyone.
pub(crate) fn routes(ledger: &Arc<Ledger>, access: Access) -> Vec<Route> {
    vec![
        route(ledger, Method::GET, "/metrics", access, 0, all),
        route(ledger, Method::GET, "/healthz", Access::PUBLIC, 0, health),
        route(ledger, Method::GET, "/readyz", Access::PUBLIC, 0, ready),
    ]
}

fn all(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    Ok(Response::new(StatusCode::OK, CONTENT_TYPE, metrics(&ledger.shared)))
}

/// Whether the process does its work. The reason for a failure is for operators: it stands in the log.
fn health(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    match ledger.failure() {
        None => Ok(Response::new(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")),
        Some(_) => Err(Refusal::Unavailable("The ledger has stopped accepting entries".to_owned())),
    }
}

/// Whether it is to be sent requests.
fn ready(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    let readiness = Readiness::of(&ledger.shared);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_vec(&readiness).map_err(|error| Refusal::broken(&error))?;
    Ok(Response::new(status, "application/json", body))
}
