//! COSE receipts under the latest checkpoint.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use ledger_tlog::cose::{RECEIPT_MEDIA_TYPE, Receipt};
use transport::router::{Request, Response};

use super::{Refusal, number};
use crate::ReceiptUnavailable;
use crate::engine::Ledger;

pub(super) fn inclusion(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let index = number(request.param("index"), "the index")?;
    answer(ledger.inclusion_receipt(index))
}

pub(super) fn consistency(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let old = number(request.param("old"), "the older size")?;
    answer(ledger.consistency_receipt(old))
}

fn answer(receipt: Result<Receipt, ReceiptUnavailable>) -> Result<Response, Refusal> {
    match receipt {
        // The next one is under a later checkpoint, and signatures need not repeat.
        Ok(receipt) => Ok(Response::new(StatusCode::OK, RECEIPT_MEDIA_TYPE, receipt.to_bytes())
            .with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))),
        Err(ReceiptUnavailable::NoEntry { .. }) => Err(Refusal::NotFound("The log has no such entry")),
        Err(error @ ReceiptUnavailable::From { .. }) => Err(Refusal::Malformed(error.to_string())),
        Err(error @ ReceiptUnavailable::NotYet { .. }) => Err(Refusal::Unavailable(error.to_string())),
        Err(error) => Err(Refusal::broken(&error)),
    }
}
