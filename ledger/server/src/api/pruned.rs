//! What an auditor goes on from, where entries were pruned.

use http::StatusCode;
use transport::router::{Request, Response};

use super::Refusal;
use crate::engine::Ledger;
use crate::pruned::{PRUNED_FOLDER, Pruned, Snapshot, histories_name};

/// The state of all chains behind the pruned entries.
pub(super) fn boundary(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    Ok(Response::new(StatusCode::OK, "application/cbor", loaded(ledger)?.boundary()))
}

/// The machines' histories that outlived them.
pub(super) fn histories(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    let path = ledger.shared.root.file(PRUNED_FOLDER).join(histories_name(loaded(ledger)?.first));
    match std::fs::read(path) {
        Ok(bytes) => Ok(Response::new(StatusCode::OK, "application/octet-stream", bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Refusal::NotFound("This log kept no histories when it was pruned"))
        }
        Err(error) => Err(Refusal::broken(&error)),
    }
}

fn loaded(ledger: &Ledger) -> Result<Snapshot, Refusal> {
    match Pruned::load(&ledger.shared.root) {
        Ok(Some((_, snapshot))) => Ok(snapshot),
        Ok(None) => Err(Refusal::NotFound("Nothing of this log was pruned")),
        Err(error) => Err(Refusal::broken(&error)),
    }
}
