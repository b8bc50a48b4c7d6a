//! Evidence that is not what was asked for, and evidence that does not come.

use messages::keylime::AttestationStatus;

use crate::{
    attester::{Attester, Manner, start_many},
    chain,
    stand::{Stand, until},
};

/// Lets a good agent turn to `manner`; returns the findings of its first failing verdict.
async fn turned(stand: &Stand, id: &str, manner: Manner) -> Vec<String> {
    let attester = stand.attester(id).await;
    stand.until_passed(&attester.id).await;
    attester.set(manner);
    stand.until_failed(&attester.id).await;
    chain::first_failure(&chain::entries(&stand.ledger(), &attester.id).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_replayed_quotes_fail_and_are_recorded_as_they_came() {
    let stand = Stand::start().await;
    for (id, manner, finding) in [
        ("replay", Manner::Replay, "qoute_validation.quote_validation"),
        ("registers", Manner::OtherRegisters, "qoute_validation.quote_validation"),
        ("ak", Manner::WrongAk, "qoute_validation.quote_validation"),
        ("nk", Manner::WrongPayloadKey, "pcr_validation.invalid_pcr_16"),
        ("blob", Manner::BrokenBlob, "qoute_validation.invalid_data"),
    ] {
        // A replay's first answer is fresh: it is the second that fails.
        assert_eq!(turned(&stand, id, manner).await, [finding], "{manner:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_quote_are_misses_with_their_reason() {
    use ledger_protocol::{
        Kind,
        body::{Body, Miss, MissReason},
    };
    let stand = Stand::start().await;
    for (id, manner, reason) in [
        ("garbage", Manner::Garbage, MissReason::NoQuote),
        ("refusing", Manner::Refuse(403), MissReason::Refused),
        ("broken", Manner::Refuse(500), MissReason::Unreachable),
        ("mute", Manner::Mute, MissReason::Unreachable),
    ] {
        let attester = Attester::start(&stand, id).await;
        attester.set(manner);
        stand.enrol(&attester).await;
        stand.add(&attester, &attester.add()).await;
        let entries = stand.until_logged(&attester.id, "miss").await;
        assert_eq!(chain::count(&entries, "quote"), 0);
        let (miss, _) = entries.iter().find(|(entry, _)| entry.kind == Kind::Miss).unwrap();
        let miss = Miss::decode(&miss.body).unwrap();
        assert_eq!((miss.reason, miss.attempts), (reason, 3), "{manner:?}: {}", miss.text);
        assert_ne!(stand.status(&attester.id).await.unwrap().attestation_status, AttestationStatus::Pass);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mute_agents_do_not_delay_the_others() {
    let stand = Stand::start().await;
    let mute = start_many(&stand, "mute", 20).await;
    for attester in mute.values() {
        attester.set(Manner::Mute);
        stand.enrol(attester).await;
        stand.add(attester, &attester.add()).await;
    }
    let healthy = stand.attester("healthy").await;
    let first = stand.until(&healthy.id, "it begins", |status| status.attestation_count > 0).await.attestation_count;
    let begun = std::time::Instant::now();
    stand.until(&healthy.id, "it goes on", |status| status.attestation_count >= first + 10).await;
    // Ten rounds of 100 ms; one mute agent's timeout alone would be 400 ms for each of the twenty.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert!(mute.values().all(|attester| attester.asked() > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_goes_stale_when_quotes_stop_before_anything_is_recorded() {
    let stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    stand.enrol(&attester).await;
    let mut add = attester.add();
    add.attestry.as_mut().unwrap().tolerance_ms = Some(150);
    stand.add(&attester, &add).await;
    stand.until_passed(&attester.id).await;
    attester.set(Manner::Mute);
    let status =
        stand.until(&attester.id, "stale", |status| status.attestation_status == AttestationStatus::Timeout).await;
    assert!(status.quote_age_ms.unwrap() > 250, "{status:?}");
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "miss"), 0, "the age alone says it");
    attester.set(Manner::Honest);
    stand.until_passed(&attester.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_another_certificate_is_not_spoken_with() {
    let stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    stand.enrol(&attester).await;
    let other = transport::ca::self_sign("node-1", &[]).unwrap();
    let mut add = attester.add();
    add.mtls_cert = Some(String::from_utf8(other.certificate().to_pem().unwrap()).unwrap());
    stand.add(&attester, &add).await;
    stand.until_logged(&attester.id, "miss").await;
    assert_eq!(attester.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_agent_is_asked_in_its_own_version() {
    let stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    attester.set(Manner::Old);
    stand.enrol(&attester).await;
    stand.add(&attester, &attester.add()).await;
    stand.until_passed(&attester.id).await;
    until("the share comes", || attester.shares().len() == 1).await;
    // Once a quote has passed, a lower version is no longer negotiated.
    let newer = stand.attester("node-2").await;
    stand.until_passed(&newer.id).await;
    newer.set(Manner::Old);
    stand.until_logged(&newer.id, "miss").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_place_in_the_ima_list_stops_nothing() {
    let stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    attester.set(Manner::LastImaEntry);
    stand.enrol(&attester).await;
    stand.add(&attester, &attester.add()).await;
    let status = stand.until_passed(&attester.id).await;
    assert_eq!(status.reason, None);
}
