#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use super::*;
use crate::cbor;

fn example() -> AppendRequest {
    let item = Item { kind: 2, body: ByteBuf::from([0xf6]), after: None };
    let linked = Item { kind: 3, body: ByteBuf::from([0x81]), after: Some(ByteBuf::new()) };
    let head = Head { seq: 300, prev: Digest([1; 32]) };
    let agent = Some("node-1".parse().unwrap());
    let groups = vec![
        Group { agent, expected: Some(head), items: vec![item.clone(), linked] },
        Group { agent: None, expected: None, items: vec![item] },
    ];
    AppendRequest { version: 1, idempotency_key: IdempotencyKey([7; 16]), groups }
}

fn agree(bytes: &[u8]) {
    let slowly: Option<AppendRequest> = cbor::decode(bytes).ok();
    assert_eq!(AppendRequest::decode(bytes).ok(), slowly, "{bytes:02x?}");
}

#[test]
fn a_request_comes_back_and_every_altered_one_is_judged_as_by_the_general_decoder() {
    let bytes = cbor::encode(&example());
    assert_eq!(AppendRequest::decode(&bytes).unwrap(), example());
    for at in 0..bytes.len() {
        agree(&bytes[..at]);
        for value in 0..=u8::MAX {
            let mut altered = bytes.clone();
            altered[at] = value;
            agree(&altered);
        }
    }
    let mut longer = bytes;
    longer.push(0);
    agree(&longer);
}
