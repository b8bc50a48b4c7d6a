//! Planned maintenance: announced, on record, shown, and kept.

use http::{Method, StatusCode};
use ledger_protocol::{
    Kind,
    body::{Body, Maintenance},
};
use messages::{UnixMillis, keylime::MaintenanceWindow};

use crate::{attester::Manner, chain, stand::Stand};

const PATH: &str = "/v2.6/agents/node-1/maintenance";

fn window(reason: &str, from: UnixMillis) -> MaintenanceWindow {
    MaintenanceWindow { from, to: from.plus_ms(7_200_000), reason: reason.to_owned() }
}

fn now() -> UnixMillis {
    UnixMillis(u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap())
}

async fn announce(stand: &Stand, window: &MaintenanceWindow) -> (StatusCode, serde_json::Value) {
    stand.ask(Method::POST, PATH, Some(serde_json::to_string(window).unwrap())).await
}

async fn recorded(stand: &Stand, id: &messages::AgentId) -> Vec<Maintenance> {
    let entries = chain::entries(&stand.ledger(), id).await;
    let maintenance = entries.iter().filter(|(entry, _)| entry.kind == Kind::Maintenance);
    maintenance.map(|(entry, _)| Maintenance::decode(&entry.body).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_window_is_on_record_when_it_is_answered_and_stays_shown() {
    let mut stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    // Cuts short a question that nobody answers.
    attester.set(Manner::Mute);
    let window = window("new fans", now());
    let (status, body) = announce(&stand, &window).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let entries = recorded(&stand, &attester.id).await;
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.from, entry.to, entry.reason.as_str()), (window.from, window.to, "new fans"));
    assert!(!entry.actor.is_empty());
    assert_eq!(stand.status(&attester.id).await.unwrap().maintenance, std::slice::from_ref(&window));
    attester.set(Manner::Honest);
    stand.until_passed(&attester.id).await;

    stand.stop_verifier().await;
    stand.start_verifier().await;
    stand.until_passed(&attester.id).await;
    assert_eq!(stand.status(&attester.id).await.unwrap().maintenance, std::slice::from_ref(&window));
    // It outlives the agent's leaving the verifier, as it does on the chain.
    let (status, _) = stand.ask(Method::DELETE, "/v2.6/agents/node-1", None).await;
    assert!(status.is_success());
    let (status, _) = announce(&stand, &window).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    stand.add(&attester, &attester.add()).await;
    assert_eq!(stand.until_passed(&attester.id).await.maintenance, [window]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_is_made_again_is_on_record_once() {
    let mut stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    let first = window("new fans", now());
    for _ in 0..3 {
        let (status, body) = announce(&stand, &first).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    // As after an answer that was lost together with the verifier.
    stand.stop_verifier().await;
    stand.start_verifier().await;
    stand.until_passed(&attester.id).await;
    let (status, body) = announce(&stand, &first).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(recorded(&stand, &attester.id).await.len(), 1);
    // Another reason, or another time, is another announcement.
    for other in [window("new disks", first.from), window("new fans", first.from.plus_ms(1))] {
        let (status, body) = announce(&stand, &other).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    assert_eq!(recorded(&stand, &attester.id).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_cannot_count_are_refused_and_not_recorded() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    let at = now();
    for (from, to, said) in [
        (at, at, "after its begin"),
        (at, at.plus_ms(31 * 86_400_000), "30 days"),
        (UnixMillis(at.0 - 7_200_000), UnixMillis(at.0 - 1), "was over"),
        (UnixMillis(at.0 - 86_400_000), at.plus_ms(3_600_000), "or later"),
        (at.plus_ms(400 * 86_400_000), at.plus_ms(401 * 86_400_000), "more than a year"),
    ] {
        let (status, body) = announce(&stand, &MaintenanceWindow { from, to, reason: "x".to_owned() }).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body["status"].as_str().unwrap().contains(said), "{body}");
    }
    assert_eq!(recorded(&stand, &attester.id).await, []);
    for number in 0..16 {
        let (status, body) = announce(&stand, &window(&format!("number {number}"), at)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let (status, body) = announce(&stand, &window("one more", at)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert!(body["status"].as_str().unwrap().contains("number 0"), "{body}");
    assert_eq!(recorded(&stand, &attester.id).await.len(), 16);
}
