//! The time-stamps on checkpoints, as they are kept.

use transport::router::{Request, Response};

use super::{Refusal, cbor, immutable, number};
use crate::engine::Ledger;

pub(super) fn names(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let size = number(request.param("size"), "the size")?;
    let names = ledger.shared.stamps.names(size).map_err(|error| Refusal::broken(&error))?;
    if names.is_empty() {
        return Err(Refusal::NotFound("There is no time-stamp on a checkpoint of this size"));
    }
    Ok(cbor(&names))
}

pub(super) fn file(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let size = number(request.param("size"), "the size")?;
    match ledger.shared.stamps.read(size, request.param("name")) {
        Ok(Some(bytes)) => Ok(immutable(bytes)),
        Ok(None) => Err(Refusal::NotFound("There is no such file of a time-stamp")),
        Err(error) => Err(Refusal::broken(&error)),
    }
}
