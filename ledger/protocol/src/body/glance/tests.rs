#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use messages::{UnixMillis, cbor};

use crate::body::{
    BankValues, Body, Finding, ImaDelta, ImaState, Miss, MissReason, OperatorAction, QuoteBody, Verdict,
};

fn quote() -> QuoteBody {
    QuoteBody {
        beacon: Beacon { tree_size: 300, note_digest: Digest([1; 32]) },
        salt: Digest([2; 32]),
        attest: ByteBuf::from([3; 30]),
        signature: ByteBuf::from([4; 3]),
        pcrs: vec![BankValues { alg: 11, values: vec![(0, ByteBuf::from([5; 4])), (16, ByteBuf::new())] }],
        ima: ImaDelta { from: 24, count: 1, delta: Some(Digest([6; 32])) },
        boot_log: None,
    }
}

fn verdict() -> Verdict {
    Verdict {
        quote: Digest([6; 32]),
        result: VerdictResult::Fail,
        findings: vec![Finding { component: "a".into(), event: "b".into(), severity: 6, text: "c\u{e9}".into() }],
        policies: vec![Digest([8; 32]), Digest([9; 32])],
        binding: Digest([7; 32]),
        appraiser: "x".into(),
        ima_state: ImaState { count: 3, running: ByteBuf::from([1; 4]) },
    }
}

/// A glance and a full reading agree: on whether it is one, and on what they both read; and a full reading agrees with
/// the general decoder.
fn agree(bytes: &[u8]) {
    assert_eq!(QuoteBody::decode(bytes).ok(), cbor::decode(bytes).ok(), "{bytes:02x?}");
    assert_eq!(Verdict::decode(bytes).ok(), cbor::decode(bytes).ok(), "{bytes:02x?}");
    let full = QuoteBody::decode(bytes).ok();
    let expected =
        full.map(|quote| QuoteGlance { beacon: quote.beacon, boot_log: quote.boot_log, ima_delta: quote.ima.delta });
    assert_eq!(QuoteGlance::read(bytes).ok(), expected, "{bytes:02x?}");
    let mut policies = Vec::new();
    let glance = VerdictGlance::read(bytes, |policy| policies.push(policy)).ok();
    let full = Verdict::decode(bytes).ok();
    assert_eq!(
        glance.map(|verdict| (verdict.quote, verdict.result, policies)),
        full.map(|verdict| { (verdict.quote, verdict.result, verdict.policies) }),
        "{bytes:02x?}"
    );
    assert_eq!(operator_action(bytes).is_ok(), OperatorAction::decode(bytes).is_ok(), "{bytes:02x?}");
    assert_eq!(miss(bytes).is_ok(), Miss::decode(bytes).is_ok(), "{bytes:02x?}");
}

fn action() -> OperatorAction {
    OperatorAction { action: "a".into(), actor: "b".into(), target: Some("c".into()), detail: "d".into() }
}

fn missed() -> Miss {
    Miss { due: UnixMillis(300), reason: MissReason::Refused, attempts: 2, text: "e".into() }
}

#[test]
fn every_altered_byte_is_judged_as_by_the_full_reading() {
    for bytes in [quote().encode(), verdict().encode(), action().encode(), missed().encode()] {
        agree(&bytes);
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x18, 0x20, 0x40, 0x58, 0x60, 0x78, 0x80, 0x81, 0x82, 0xa0, 0xf4, 0xf6, 0xff] {
                let mut altered = bytes.clone();
                altered[at] = value;
                agree(&altered);
                altered[at] = bytes[at].wrapping_add(value);
                agree(&altered);
            }
            agree(&bytes[..at]);
        }
    }
}

proptest! {
    #[test]
    fn spliced_bytes_are_judged_as_by_the_full_reading(
        cut in 0usize..200, insert in prop::collection::vec(any::<u8>(), 0..4), drop in 0usize..4, which in 0usize..4,
    ) {
        let mut bytes = [quote().encode(), verdict().encode(), action().encode(), missed().encode()][which].clone();
        let cut = cut.min(bytes.len());
        let end = (cut + drop).min(bytes.len());
        bytes.splice(cut..end, insert);
        agree(&bytes);
    }
}
