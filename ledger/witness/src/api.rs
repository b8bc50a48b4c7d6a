//! The routes, and which answer means what. Source: C2SP tlog-witness, `docs/spec/witness.md`.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use logging::chain;
use transport::router::{Access, Request, Response, Route};

use crate::decision::Refusal;
use crate::request::REQUEST_BYTES_MAX;
use crate::witness::{AddFailed, Witness};

/// Everyone may ask: a checkpoint's signature is all the authority there is.
pub(crate) fn routes(witness: &Arc<Witness>, prefix: &str) -> Vec<Route> {
    let (adding, showing) = (Arc::clone(witness), Arc::clone(witness));
    vec![
        Route::new(
            Method::POST,
            &format!("{prefix}/add-checkpoint"),
            Access::PUBLIC,
            REQUEST_BYTES_MAX,
            move |request| add_checkpoint(Arc::clone(&adding), request),
        ),
        Route::new(Method::GET, &format!("{prefix}/:log/checkpoint"), Access::PUBLIC, 0, move |request| {
            latest(Arc::clone(&showing), request)
        }),
        Route::new(Method::GET, &format!("{prefix}/healthz"), Access::PUBLIC, 0, |_| async {
            text(StatusCode::OK, "ok\n".to_owned())
        }),
    ]
}

async fn add_checkpoint(witness: Arc<Witness>, request: Request) -> Response {
    let request_id = request.request_id.clone();
    // Waits for the disk, and for other requests of the same log.
    let done = tokio::task::spawn_blocking(move || witness.add_checkpoint(&request.body)).await;
    match done {
        Ok(Ok(lines)) => text(StatusCode::OK, lines),
        Ok(Err(failed)) => refused(&failed, &request_id),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn latest(witness: Arc<Witness>, request: Request) -> Response {
    let found = tokio::task::spawn_blocking(move || witness.latest(request.param("log"))).await;
    match found {
        Ok(Some(note)) => {
            Response::new(StatusCode::OK, TEXT, note).with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        }
        Ok(None) => text(StatusCode::NOT_FOUND, "no checkpoint of such a log is cosigned here\n".to_owned()),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The table of tlog-witness; what is the witness's own fault is told without details.
fn refused(failed: &AddFailed, request_id: &str) -> Response {
    let refusal = match failed {
        AddFailed::Refused(refusal) => refusal,
        AddFailed::Malformed(_) => return text(StatusCode::BAD_REQUEST, line(failed)),
        AddFailed::Signing(_) | AddFailed::Unknown | AddFailed::Write(_) => {
            tracing::error!(reason = chain(failed), request_id, "a checkpoint was not cosigned");
            let sorry = "the witness cannot cosign at present; its log says why\n";
            return text(StatusCode::INTERNAL_SERVER_ERROR, sorry.to_owned());
        }
    };
    let status = match refusal {
        Refusal::UnknownLog { .. } => StatusCode::NOT_FOUND,
        Refusal::Signature { .. } => StatusCode::FORBIDDEN,
        Refusal::Checkpoint { .. } | Refusal::OldBeyondNew { .. } | Refusal::Text { .. } => StatusCode::BAD_REQUEST,
        Refusal::OtherSize { recorded } => {
            return Response::new(StatusCode::CONFLICT, "text/x.tlog.size", format!("{recorded}\n"));
        }
        Refusal::EmptyRoot { .. }
        | Refusal::Forked { .. }
        | Refusal::Inconsistent { .. }
        | Refusal::ProofFromNothing { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::ClockBehind { .. } => {
            tracing::error!(%refusal, request_id, "the clock has gone back");
            let wait = HeaderValue::from_static("1");
            return text(StatusCode::SERVICE_UNAVAILABLE, line(failed)).with_header(RETRY_AFTER, wait);
        }
    };
    tracing::info!(status = status.as_u16(), reason = chain(failed), request_id, "a checkpoint was refused");
    text(status, line(failed))
}

fn text(status: StatusCode, body: String) -> Response {
    Response::new(status, TEXT, body)
}

fn line(error: &dyn std::error::Error) -> String {
    format!("{}\n", chain(error))
}

const TEXT: &str = "text/plain; charset=utf-8";
