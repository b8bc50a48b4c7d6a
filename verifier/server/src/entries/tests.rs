#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

/// What the sequencer makes of a linked item.
fn joined(item: &Item, link: Digest) -> Vec<u8> {
    [item.body.as_slice(), &[0x58, 0x20], link.as_bytes(), item.after.as_ref().unwrap()].concat()
}

#[test]
fn a_linked_key_release_becomes_the_body_with_the_link_in_its_place() {
    let (link, key_id) = (Digest([7; 32]), Digest([9; 32]));
    for step in [
        KeyStep::Authorise { recipient: Digest([1; 32]) },
        KeyStep::Revoke { recipient: Digest([1; 32]) },
        KeyStep::Withhold,
    ] {
        let body = KeyRelease::decode(&joined(&key_step(step, key_id, "event"), link)).unwrap();
        assert_eq!((body.verdict, body.key_id), (link, key_id));
    }
}

#[test]
fn a_linked_verdict_becomes_the_body_with_the_link_in_its_place() {
    let link = Digest([7; 32]);
    let verdict = Verdict {
        quote: Digest::ZERO,
        result: VerdictResult::Fail,
        findings: vec![],
        policies: vec![Digest([1; 32])],
        binding: Digest([2; 32]),
        appraiser: APPRAISER.to_owned(),
        ima_state: ImaState::default(),
    };
    let body = Verdict::decode(&joined(&linked(&verdict, 1), link)).unwrap();
    assert_eq!(body, Verdict { quote: link, ..verdict });
}

#[test]
fn long_texts_of_peers_are_cut() {
    assert_eq!(shortened(&"ä".repeat(1_000)).chars().count(), 512);
}
