use ledger_protocol::Kind;
use ledger_protocol::body::{Body, OperatorAction};
use messages::ledger::{AppendRequest, Group, IdempotencyKey, Item};
use serde_bytes::ByteBuf;

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
