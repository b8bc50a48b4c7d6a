#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use zeroize::Zeroizing;

use super::*;

fn id() -> AgentId {
    "node-1".parse().unwrap()
}

fn share(byte: u8) -> KeyShare {
    KeyShare::new(Zeroizing::new(vec![byte; 32])).unwrap()
}

/// A U that goes with `share(v)`, with the tag of their key.
fn offer(u: u8, v: u8) -> Offer {
    let key = share(u).combine(&share(v)).unwrap();
    let tag = hmac_sha384(key.as_bytes(), b"node-1").unwrap();
    Offer { payload: Some(vec![u]), share: share(u), tag }
}

fn fresh() -> Provisioning {
    Provisioning::new(id(), [], None)
}

#[test]
fn u_then_v_and_v_then_u_make_the_key() {
    let mut box_ = fresh();
    assert!(box_.offer_u(offer(1, 2)).unwrap().is_none());
    let done = box_.offer_v(share(2)).unwrap().unwrap();
    assert_eq!((done.key.as_bytes(), done.payload), (&[3; 32][..], Some(vec![1])));

    let mut box_ = fresh();
    assert!(box_.offer_v(share(2)).unwrap().is_none());
    assert_eq!(box_.offer_u(offer(1, 2)).unwrap().unwrap().key.as_bytes(), [3; 32]);
}

#[test]
fn every_pair_is_tried_and_only_the_tagged_one_wins() {
    let mut box_ = fresh();
    for wrong in 10..13 {
        assert!(box_.offer_v(share(wrong)).unwrap().is_none());
        assert!(box_.offer_u(offer(wrong, 99)).unwrap().is_none());
    }
    assert!(box_.offer_v(share(2)).unwrap().is_none());
    assert_eq!(box_.offer_u(offer(1, 2)).unwrap().unwrap().payload, Some(vec![1]));
    assert!(format!("{box_:?}").contains("offers: 0, shares: 0"));
}

#[test]
fn a_recorded_u_is_refused_even_after_a_restart() {
    let mut box_ = fresh();
    box_.offer_v(share(2)).unwrap();
    box_.offer_u(offer(1, 2)).unwrap().unwrap();
    assert!(matches!(box_.offer_u(offer(1, 2)), Err(ShareRefused::Replayed)));
    let stored: String = box_.used().map(|tag| tag.to_hex() + "\n").collect();
    let mut restarted = Provisioning::new(id(), read_used(&stored).unwrap(), None);
    assert!(matches!(restarted.offer_u(offer(1, 2)), Err(ShareRefused::Replayed)));
    // A verifier that delivers V again is no attack.
    assert!(restarted.offer_v(share(2)).unwrap().is_none());
    assert!(restarted.offer_u(offer(4, 2)).unwrap().is_some());
}

#[test]
fn waiting_shares_are_bounded_and_the_newest_are_kept() {
    let mut box_ = fresh();
    box_.offer_u(offer(1, 200)).unwrap();
    for other in 0..8 {
        box_.offer_u(offer(50 + other, 201)).unwrap();
    }
    assert!(format!("{box_:?}").contains("offers: 8"));
    assert!(box_.offer_v(share(200)).unwrap().is_none(), "the oldest U was pushed out");
    assert!(box_.offer_v(share(201)).unwrap().is_some());
}

#[test]
fn a_share_sent_twice_takes_one_place() {
    let mut box_ = fresh();
    for _ in 0..20 {
        box_.offer_u(offer(1, 2)).unwrap();
        box_.offer_v(share(9)).unwrap();
    }
    assert!(format!("{box_:?}").contains("offers: 1, shares: 1"));
}

#[test]
fn possession_is_proved_only_with_a_key() {
    let challenge = KeyChallenge::parse(Some("abc")).unwrap();
    let mut box_ = fresh();
    assert_eq!(box_.prove(&challenge).unwrap(), None);
    box_.offer_v(share(2)).unwrap();
    box_.offer_u(offer(1, 2)).unwrap();
    assert_eq!(box_.prove(&challenge).unwrap(), Some(hmac_sha384(&[3; 32], b"abc").unwrap()));
}

#[test]
fn no_more_keys_are_used_than_are_remembered() {
    let tags = (0..4096_u32).map(|n| hmac_sha384(&n.to_be_bytes(), b"").unwrap());
    let mut box_ = Provisioning::new(id(), tags, None);
    assert!(matches!(box_.offer_u(offer(1, 2)), Err(ShareRefused::Exhausted)));
}
