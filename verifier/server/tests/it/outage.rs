//! A ledger that is away, and a verifier that was.

use http::StatusCode;
use messages::keylime::AttestationStatus;

use crate::{
    attester::{Attester, Manner},
    chain,
    stand::{Stand, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_the_ledger_nothing_is_released_and_work_resumes_by_itself() {
    let mut stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    attester.set(Manner::Refuse(500));
    stand.enrol(&attester).await;
    stand.add(&attester, &attester.add()).await;
    until("asked once", || attester.asked() > 0).await;

    stand.stop_ledger().await;
    attester.set(Manner::Honest);
    let says =
        |status: &messages::keylime::AgentStatus| status.reason.as_deref().unwrap_or_default().contains("ledger");
    let status = stand.until(&attester.id, "the status says why", says).await;
    assert_ne!(status.attestation_status, AttestationStatus::Pass);
    assert_eq!(status.attestation_count, 0);
    assert!(attester.shares().is_empty());
    let (status, body) = stand.post(&"node-2".parse().unwrap(), &attester.add()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let (status, _) = stand.ask(http::Method::PUT, "/v2.6/agents/node-1/stop", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "an unrecorded action is not done");
    let (status, _) = stand.ask(http::Method::DELETE, "/v2.6/agents/node-1", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(attester.shares().is_empty());

    stand.start_ledger().await;
    stand.until_passed(&attester.id).await;
    until("the share comes", || attester.shares().len() == 1).await;
    let entries = stand.until_logged(&attester.id, "delivered").await;
    assert_eq!(chain::count(&entries, "authorised"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_ages_while_the_ledger_is_away() {
    let mut stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    stand.enrol(&attester).await;
    let mut add = attester.add();
    add.attestry.as_mut().unwrap().tolerance_ms = Some(200);
    stand.add(&attester, &add).await;
    let count = stand.until_passed(&attester.id).await.attestation_count;
    stand.stop_ledger().await;
    let late = |status: &messages::keylime::AgentStatus| status.attestation_status == AttestationStatus::Timeout;
    let status = stand.until(&attester.id, "late", late).await;
    assert!(status.attestation_count <= count + 3, "rounds that are not recorded are not counted");
    stand.start_ledger().await;
    stand.until_passed(&attester.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_verifier_keeps_its_agents_and_trusts_none_before_a_fresh_pass() {
    let mut stand = Stand::start().await;
    let good = stand.attester("good").await;
    let bad = stand.attester("bad").await;
    let stopped = stand.attester("stopped").await;
    for attester in [&good, &bad, &stopped] {
        stand.until_logged(&attester.id, "delivered").await;
    }
    bad.measure(15);
    stand.until_failed(&bad.id).await;
    stand.until_logged(&bad.id, "revoked").await;
    stand.ask(http::Method::PUT, "/v2.6/agents/stopped/stop", None).await;
    let count = stand.status(&good.id).await.unwrap().attestation_count;
    good.set(Manner::Mute);
    stand.stop_verifier().await;

    stand.start_verifier().await;
    let status = stand.status(&good.id).await.unwrap();
    assert_eq!(status.attestation_status, AttestationStatus::Pending, "{status:?}");
    assert!(status.attestation_count >= count);
    assert_eq!(status.key_state.as_deref(), Some("released"));
    assert_eq!(stand.status(&bad.id).await.unwrap().attestation_status, AttestationStatus::Fail);
    assert_eq!(stand.status(&stopped.id).await.unwrap().attestation_status, AttestationStatus::Fail);
    good.set(Manner::Honest);
    stand.until_passed(&good.id).await;
    assert_eq!(good.shares().len(), 1, "the same payload key has its share already");
    let asked = (bad.asked(), stopped.asked());
    until("the failed one is asked on", || bad.asked() > asked.0 + 2).await;
    assert_eq!(stopped.asked(), asked.1, "the stopped one is not");
    assert_eq!(chain::count(&chain::entries(&stand.ledger(), &bad.id).await, "revoked"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_only_the_ledger_remembers_is_found_after_a_restart() {
    let mut stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    stand.stop_verifier().await;
    let before = stand.path().join("verifier");
    let kept = stand.path().join("kept");
    copy(&before, &kept);
    stand.start_verifier().await;
    attester.measure(15);
    stand.until_logged(&attester.id, "raised").await;
    stand.stop_verifier().await;
    // The records of before the failure, as after a power loss.
    std::fs::remove_dir_all(&before).unwrap();
    copy(&kept, &before);
    attester.set(Manner::Refuse(500));
    stand.start_verifier().await;
    let status = stand.until_failed(&attester.id).await;
    assert_eq!(status.key_state.as_deref(), Some("revoked"));
    attester.set(Manner::Honest);
    let asked = attester.asked();
    until("rounds go on", || attester.asked() > asked + 2).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!((chain::count(&entries, "revoked"), chain::count(&entries, "raised")), (1, 1));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
