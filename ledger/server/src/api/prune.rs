//! What an operator asks of a log at work: pruning.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use transport::router::{Request, Response};

use super::Refusal;
use crate::engine::{Ledger, chain};
use crate::pruning::{BLOB_GRACE, PruneBelow, PruneError, PruneRequest};

/// One of the two limits, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    below: Option<u64>,
    older_than_s: Option<u64>,
    reason: String,
}

pub(super) fn prune(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let wanted = serde_json::from_slice(&request.body);
    let wanted: Wanted = wanted.map_err(|error| Refusal::Malformed(format!("the body is no request: {error}")))?;
    let below = match (wanted.below, wanted.older_than_s) {
        (Some(index), None) => PruneBelow::Index(index),
        (None, Some(seconds)) => PruneBelow::OlderThan(Duration::from_secs(seconds)),
        _ => return Err(Refusal::Malformed("expected one of below and older_than_s".to_owned())),
    };
    let actor = request.peer.common_name().unwrap_or_default().to_owned();
    match ledger.prune(&PruneRequest { actor, below, blob_grace: BLOB_GRACE, reason: wanted.reason }) {
        Ok(report) => {
            let body = serde_json::to_vec(&report).map_err(|error| Refusal::broken(&error))?;
            Ok(Response::new(StatusCode::OK, "application/json", body))
        }
        Err(error @ PruneError::Nothing { .. }) => Err(Refusal::Malformed(error.to_string())),
        Err(PruneError::Append(failed)) => Err(failed.into()),
        Err(error) => Err(Refusal::Broken(chain(&error))),
    }
}

/// Room for a reason of a page.
pub(super) const BODY_BYTES_MAX: usize = 16 << 10;
