#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Debug;

use messages::{Digest, UnixMillis};
use serde_bytes::ByteBuf;

use super::*;
use crate::Beacon;

fn round_trip<B: Body + Debug + PartialEq>(body: &B) -> String {
    let bytes = body.encode();
    assert_eq!(&B::decode(&bytes).unwrap(), body);
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(B::decode(&longer).is_err());
    let value: ciborium::Value = ciborium::from_reader(bytes.as_slice()).unwrap();
    let mut again = Vec::new();
    ciborium::into_writer(&value, &mut again).unwrap();
    assert_eq!(again, bytes);
    hex::encode(bytes)
}

fn quote() -> QuoteBody {
    QuoteBody {
        beacon: Beacon { tree_size: 1, note_digest: Digest([1; 32]) },
        salt: Digest([2; 32]),
        attest: ByteBuf::from([3]),
        signature: ByteBuf::from([4]),
        pcrs: vec![BankValues { alg: 11, values: vec![(16, ByteBuf::from([5; 2]))] }],
        ima: ImaDelta::default(),
        boot_log: None,
    }
}

#[test]
fn quote_bytes_are_pinned() {
    let expected =
        format!("8782015820{}5820{}41034104818{}", "01".repeat(32), "02".repeat(32), "20b818210420505830000f6f6");
    assert_eq!(round_trip(&quote()), expected);
}

#[test]
fn verdict_bytes_are_pinned() {
    let verdict = Verdict {
        quote: Digest([6; 32]),
        result: VerdictResult::Fail,
        findings: vec![Finding { component: "a".into(), event: "b".into(), severity: 6, text: "c".into() }],
        policies: vec![],
        binding: Digest([7; 32]),
        appraiser: "x".into(),
        ima_state: ImaState::default(),
    };
    let (quote, binding) = ("06".repeat(32), "07".repeat(32));
    let expected = format!("875820{quote}01818461616162066163805820{binding}6178820040");
    assert_eq!(round_trip(&verdict), expected);
}

#[test]
fn an_enrolment_says_whether_the_ek_certificate_was_verified_and_nothing_else() {
    let body = |ek_certificate| Enrol { slot: 0, binding: Digest([1; 32]), ek_certificate, registrar: "r".into() };
    for good in [0, 1] {
        assert_eq!(round_trip(&body(good)).get(72..74), Some(if good == 0 { "00" } else { "01" }));
    }
    for bad in [2, 23, 24, 255] {
        assert!(Enrol::decode(&body(bad).encode()).is_err(), "{bad}");
    }
}

#[test]
fn the_other_bodies_come_back() {
    round_trip(&KeyRelease {
        phase: ReleasePhase::Withheld,
        verdict: Digest([1; 32]),
        key_id: Digest([2; 32]),
        recipient: Digest::ZERO,
        reason: "failed".into(),
    });
    round_trip(&Enrol { slot: 0, binding: Digest([1; 32]), ek_certificate: 0, registrar: "r".into() });
    round_trip(&PolicyBody::Agent(AgentPolicy {
        interval_ms: 2_000,
        tolerance_ms: 10_000,
        hash_algs: vec!["sha256".into()],
        enc_algs: vec!["rsa".into()],
        sign_algs: vec![],
        labels: vec![Label { name: "role".into(), value: "hypervisor".into() }],
        policies: vec![NamedDigest { role: "tpm".into(), digest: Digest([3; 32]) }],
        binding: Digest([4; 32]),
    }));
    round_trip(&PolicyBody::Named(NamedPolicy {
        role: "runtime".into(),
        name: "base".into(),
        content: None,
        actor: "admin".into(),
    }));
    round_trip(&Miss { due: UnixMillis(1), reason: MissReason::NoQuote, attempts: 3, text: "500".into() });
    round_trip(&Retire { actor: "admin".into(), reason: "sold".into() });
    round_trip(&Genesis { format: 1, origin: "o".into(), vkey: "v".into(), created: UnixMillis(9) });
    round_trip(&CheckpointBody { tree_size: 9, note: Digest([1; 32]) });
    let sums = ByteBuf::from([3; CENSUS_SUMS_BYTES]);
    round_trip(&CensusBody { prefix_size: 9, sums, root: Digest([1; 32]), epoch: 4 });
    let (from, to) = (UnixMillis(1), UnixMillis(2));
    round_trip(&Maintenance { from, to, reason: "r".into(), actor: "a".into() });
    round_trip(&TimestampBody {
        tree_size: 9,
        note: Digest([1; 32]),
        token: Digest([2; 32]),
        tsa: "tsa".into(),
        gen_time: UnixMillis(8),
    });
    round_trip(&OperatorAction { action: "a".into(), actor: "b".into(), target: None, detail: String::new() });
    round_trip(&Revocation {
        phase: RevocationPhase::Raised,
        verdict: Digest([1; 32]),
        channel: String::new(),
        event: "e".into(),
        text: String::new(),
    });
    round_trip(&ServiceStart { service: "ledger".into(), build: "b".into(), instance: "i".into() });
}

#[test]
fn a_body_of_another_kind_is_refused() {
    assert!(Verdict::decode(&quote().encode()).is_err());
    assert!(PolicyBody::decode(&cbor::encode(&(1u8, "a"))).is_err());
    let unknown_phase = cbor::encode(&(4u8, Digest::ZERO, Digest::ZERO, Digest::ZERO, ""));
    assert!(KeyRelease::decode(&unknown_phase).is_err());
}

#[test]
fn a_binding_is_named_by_its_bytes() {
    let mut binding = Binding {
        version: 1,
        agent: "node-1".parse().unwrap(),
        ek: ByteBuf::from([1]),
        ak: ByteBuf::from([2]),
        ek_certificate: None,
        chain: vec![],
    };
    let before = binding.digest();
    assert_eq!(Binding::decode(&binding.encode()).unwrap(), binding);
    binding.ak = ByteBuf::from([3]);
    assert_ne!(before, binding.digest());
}
