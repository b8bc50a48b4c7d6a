//! Entries for tests: real bodies, as registrar and verifier would send them.

use ledger_protocol::body::{
    Body, Enrol, ImaDelta, ImaState, OperatorAction, QuoteBody, Retire, Verdict, VerdictResult,
};
use ledger_protocol::{Beacon, Kind};
use messages::ledger::{AppendRequest, Group, Head, IdempotencyKey, Item};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;

pub(crate) fn item<B: Body>(body: &B) -> Item {
    let kind: Kind = B::KIND;
    Item { kind: kind.number(), body: ByteBuf::from(body.encode()), after: None }
}

pub(crate) fn action(detail: &str) -> Item {
    item(&OperatorAction { action: "test".into(), actor: "a".into(), target: None, detail: detail.to_owned() })
}

pub(crate) fn enrol(slot: u64, binding: Digest) -> Item {
    item(&Enrol { slot, binding, ek_certificate: 0, registrar: "test".into() })
}

pub(crate) fn retire() -> Item {
    item(&Retire { actor: "a".into(), reason: "r".into() })
}

pub(crate) fn quote(beacon: Beacon) -> Item {
    item(&QuoteBody {
        beacon,
        salt: Digest([2; 32]),
        attest: ByteBuf::from([3; 145]),
        signature: ByteBuf::from([4; 72]),
        pcrs: vec![],
        ima: ImaDelta::default(),
        boot_log: None,
    })
}

/// A verdict that names the group's previous item.
pub(crate) fn linked_verdict(result: VerdictResult) -> Item {
    let body = Verdict {
        quote: Digest::ZERO,
        result,
        findings: vec![],
        policies: vec![],
        binding: Digest([1; 32]),
        appraiser: "test".into(),
        ima_state: ImaState::default(),
    }
    .encode();
    // One byte of array head; then the link's head and hash, which the sequencer fills in.
    let (before, rest) = body.split_at(1);
    let (_, after) = rest.split_at(2 + 32);
    Item { kind: Kind::Verdict.number(), body: ByteBuf::from(before), after: Some(ByteBuf::from(after)) }
}

pub(crate) fn agent(name: &str) -> AgentId {
    name.parse().expect("a test's agent id")
}

pub(crate) fn group(agent: &AgentId, expected: Head, items: Vec<Item>) -> Group {
    Group { agent: Some(agent.clone()), expected: Some(expected), items }
}

pub(crate) fn fleet(items: Vec<Item>) -> Group {
    Group { agent: None, expected: None, items }
}

pub(crate) fn request(key: u64, groups: Vec<Group>) -> AppendRequest {
    let idempotency_key = IdempotencyKey(u128::from(key).to_be_bytes());
    AppendRequest { version: 1, idempotency_key, groups }
}
