//! V and the entries around it.

use evidence::attest::Attest;
use ledger_protocol::{
    Kind, NonceInputs,
    body::{Body, KeyRelease, QuoteBody, Verdict},
};
use messages::{
    Digest,
    keylime::{AttestationStatus, OperationalState},
    ledger::Head,
};

use crate::{
    attester::{Manner, SHARE},
    chain,
    stand::{Stand, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn v_arrives_after_a_pass_and_only_once_its_authorisation_is_durable() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    let status = stand.until_passed(&attester.id).await;
    assert!(status.v.is_none());
    let entries = stand.until_logged(&attester.id, "delivered").await;
    assert_eq!(attester.shares(), [SHARE.to_vec()]);
    let begin = ["enrol", "policy", "operator-action", "quote", "pass", "authorised"];
    assert_eq!(attester.state.lock().unwrap().chain_at_share, [begin.map(str::to_owned).to_vec()]);
    assert_eq!(chain::kinds(&entries)[..7], [begin.as_slice(), &["delivered"]].concat());
    stand.until(&attester.id, "released", |status| status.key_state.as_deref() == Some("released")).await;
    stand.until(&attester.id, "goes on", |status| status.attestation_count > 5).await;
    assert_eq!(attester.shares().len(), 1, "given once");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_name_each_other_and_the_nonce_comes_out_of_them() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    let entries = stand.until_logged(&attester.id, "delivered").await;
    let (mut quote, mut verdict) = (Digest::ZERO, Digest::ZERO);
    for (entry, leaf_hash) in &entries {
        match entry.kind {
            Kind::Quote => {
                let body = QuoteBody::decode(&entry.body).unwrap();
                let head = Head { seq: entry.seq, prev: entry.prev };
                let inputs = NonceInputs { beacon: body.beacon, agent: &attester.id, head, salt: body.salt };
                let attest = Attest::parse(&body.attest).unwrap();
                assert_eq!(attest.extra_data, inputs.derive().as_str().as_bytes());
                quote = *leaf_hash;
            }
            Kind::Verdict => {
                assert_eq!(Verdict::decode(&entry.body).unwrap().quote, quote);
                verdict = *leaf_hash;
            }
            Kind::KeyRelease => assert_eq!(KeyRelease::decode(&entry.body).unwrap().verdict, verdict),
            _ => {}
        }
    }
    assert_ne!(verdict, Digest::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_challenge_has_a_salt_of_its_own() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until(&attester.id, "rounds go on", |status| status.attestation_count > 5).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    let quotes = entries.iter().filter(|(entry, _)| entry.kind == Kind::Quote);
    let salts: Vec<Digest> = quotes.map(|(entry, _)| QuoteBody::decode(&entry.body).unwrap().salt).collect();
    let distinct: std::collections::HashSet<Digest> = salts.iter().copied().collect();
    assert_eq!(distinct.len(), salts.len(), "{salts:?}");
    assert!(!distinct.contains(&Digest::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_delivery_withholds() {
    let stand = Stand::start().await;
    let attester = crate::attester::Attester::start(&stand, "node-1").await;
    stand.enrol(&attester).await;
    let add = attester.add();
    attester.measure(15);
    stand.add(&attester, &add).await;
    let status = stand.until_failed(&attester.id).await;
    assert_eq!(status.operational_state, OperationalState::InvalidQuote);
    assert_eq!(status.last_event_id.as_deref(), Some("pcr_validation.invalid_pcr_15"));
    assert_eq!(status.key_state.as_deref(), Some("withheld"));
    let asked = attester.asked();
    until("history goes on", || attester.asked() > asked + 3).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "withheld"), 1);
    assert_eq!(chain::count(&entries, "raised"), 1);
    assert_eq!(chain::count(&entries, "authorised"), 0);
    assert!(attester.shares().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_delivery_revokes_and_stands_until_reactivated() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    attester.measure(15);
    stand.until_failed(&attester.id).await;
    let entries = stand.until_logged(&attester.id, "revoked").await;
    assert_eq!(chain::count(&entries, "withheld"), 0);

    // The register is back as by a reboot: quotes pass, trust does not come back by itself.
    {
        let mut state = attester.state.lock().unwrap();
        state.tpm.reboot();
        let pem = state.nk.public_key_to_pem().unwrap();
        state.tpm.measure(16, &pem);
    }
    let passes = stand.status(&attester.id).await.unwrap().attestation_count;
    stand.until(&attester.id, "passes are counted", |status| status.attestation_count > passes + 1).await;
    assert_eq!(stand.status(&attester.id).await.unwrap().attestation_status, AttestationStatus::Fail);
    assert_eq!(attester.shares().len(), 1);

    let path = format!("/v2.6/agents/{}/reactivate", attester.id);
    let (status, body) = stand.ask(http::Method::PUT, &path, None).await;
    assert_eq!(status, 200, "{body}");
    stand.until_passed(&attester.id).await;
    until("the share comes again", || attester.shares().len() == 2).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "authorised"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_gets_v_again_under_a_pass_and_an_authorisation_of_its_own() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    attester.new_payload_key();
    until("the share comes again", || attester.shares().len() == 2).await;
    let state = attester.state.lock().unwrap();
    let before = &state.chain_at_share[1];
    assert_eq!(before.iter().filter(|word| *word == "authorised").count(), 2, "{before:?}");
    assert_eq!(before.last().map(String::as_str), Some("authorised"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_passes_late_gets_v_late() {
    let stand = Stand::start().await;
    let attester = crate::attester::Attester::start(&stand, "node-1").await;
    attester.set(Manner::Mute);
    stand.enrol(&attester).await;
    stand.add(&attester, &attester.add()).await;
    stand.until_logged(&attester.id, "miss").await;
    assert!(attester.shares().is_empty());
    let status = stand.status(&attester.id).await.unwrap();
    assert_eq!(status.attestation_status, AttestationStatus::Timeout);
    assert_eq!(status.operational_state, OperationalState::Failed);
    assert_eq!(status.key_state.as_deref(), Some("pending"));
    attester.set(Manner::Honest);
    stand.until_passed(&attester.id).await;
    until("the share comes", || attester.shares().len() == 1).await;
}
