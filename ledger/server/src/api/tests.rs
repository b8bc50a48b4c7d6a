#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use http::StatusCode;
use http::header::RETRY_AFTER;
use ledger_protocol::Kind;
use ledger_protocol::body::{Body, OperatorAction};
use messages::ledger::{AppendRequest, Group, IdempotencyKey, Item};
use serde_bytes::ByteBuf;

use super::Refusal;
use crate::engine::AppendFailed;

#[test]
fn whoever_may_try_again_is_told_when_and_nobody_else() {
    let refused = |refusal: Refusal| refusal.into_response("");
    let again = [
        (refused(AppendFailed::Busy.into()), StatusCode::SERVICE_UNAVAILABLE),
        (refused(AppendFailed::Stopping.into()), StatusCode::SERVICE_UNAVAILABLE),
        (refused(AppendFailed::Failed { reason: "disk".to_owned() }.into()), StatusCode::SERVICE_UNAVAILABLE),
        (refused(Refusal::TooMany("too many")), StatusCode::TOO_MANY_REQUESTS),
    ];
    for (response, status) in again {
        assert_eq!((response.status, response.headers[RETRY_AFTER].to_str().unwrap()), (status, "1"));
    }
    let response = refused(AppendFailed::KeyReused.into());
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!response.headers.contains_key(RETRY_AFTER));
}

#[test]
fn the_example_of_the_specification_is_a_request() {
    let action = OperatorAction { action: "stop".into(), actor: "admin".into(), target: None, detail: "test".into() };
    let item = Item { kind: Kind::OperatorAction.number(), body: ByteBuf::from(action.encode()), after: None };
    let request = AppendRequest {
        version: 1,
        idempotency_key: IdempotencyKey(std::array::from_fn(|at| at.to_le_bytes()[0])),
        groups: vec![Group { agent: None, expected: None, items: vec![item] }],
    };
    let bytes = hex::encode(messages::cbor::encode(&request));
    let spec = include_str!("../../../../docs/spec/ledger-api.md");
    let code = spec.lines().map(|line| line.split('#').next().unwrap_or_default());
    let flat: String = code.flat_map(str::split_whitespace).collect();
    assert!(flat.contains(&bytes), "docs/spec/ledger-api.md should show {bytes}");
}
