//! News of failures: a webhook that listens, one that does not, and other agents.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http::{Method, StatusCode};
use messages::keylime::{RevocationMessage, RevocationNotice};
use openssl::{hash::MessageDigest, rsa::Padding, sign::Verifier};
use transport::{
    router::{Access, Response, Route, Router},
    server::{Limits, Server, Shutdown, ShutdownHandle},
};

use crate::{
    attester::{Attester, Manner},
    chain,
    stand::{Stand, base64, until},
};

pub(crate) struct Webhook {
    pub(crate) url: String,
    answers: Arc<Mutex<StatusCode>>,
    notices: Arc<Mutex<Vec<RevocationNotice>>>,
    _stop: ShutdownHandle,
}

impl Webhook {
    pub(crate) async fn start(answer: StatusCode) -> Self {
        let (answers, notices) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let (codes, seen) = (Arc::clone(&answers), Arc::clone(&notices));
        let route = Route::new(Method::POST, "/hook", Access::PUBLIC, 1 << 20, move |request| {
            seen.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
            let code = *codes.lock().unwrap();
            async move { Response::empty(code) }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let router = Router::new(vec![route]).unwrap();
        let server = Server::bind(address, None, router, Limits::default()).await.unwrap();
        let url = format!("http://{}/hook", server.local_addr());
        let (stop, shutdown) = Shutdown::new();
        tokio::spawn(server.run(shutdown));
        Self { url, answers, notices, _stop: stop }
    }

    pub(crate) fn count(&self) -> usize {
        self.notices.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reaches_the_webhook_after_it_is_recorded_and_once() {
    let webhook = Webhook::start(StatusCode::OK).await;
    let stand = Stand::with_webhook(Some(webhook.url.clone())).await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    attester.measure(15);
    let entries = stand.until_logged(&attester.id, "told").await;
    assert_eq!(chain::count(&entries, "raised"), 1);
    let asked = attester.asked();
    until("rounds go on", || attester.asked() > asked + 3).await;
    assert_eq!(webhook.count(), 1);
    let notice = webhook.notices.lock().unwrap()[0].clone();
    assert_eq!(notice.signature, "");
    let message: RevocationMessage = serde_json::from_str(&notice.msg).unwrap();
    assert_eq!((message.kind.as_str(), message.agent_id.as_str()), ("revocation", "node-1"));
    assert_eq!(message.event_id.as_deref(), Some("pcr_validation.invalid_pcr_15"));
    assert_eq!(message.severity_label.as_deref(), Some("emergency"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_refuses_is_told_until_it_takes_it_also_after_a_restart() {
    let webhook = Webhook::start(StatusCode::INTERNAL_SERVER_ERROR).await;
    let mut stand = Stand::with_webhook(Some(webhook.url.clone())).await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    attester.measure(15);
    until("told more than once", || webhook.count() > 1).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!((chain::count(&entries, "raised"), chain::count(&entries, "told")), (1, 0));
    stand.stop_verifier().await;
    *webhook.answers.lock().unwrap() = StatusCode::ACCEPTED;
    stand.start_verifier().await;
    stand.until_logged(&attester.id, "told").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_never_takes_it_is_given_up_on_record() {
    let webhook = Webhook::start(StatusCode::INTERNAL_SERVER_ERROR).await;
    let mut stand = Stand::without_verifier(Some(webhook.url.clone())).await;
    stand.give_up_after = std::time::Duration::from_millis(300);
    stand.start_verifier().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    attester.measure(15);
    let entries = stand.until_logged(&attester.id, "given-up").await;
    assert_eq!(chain::count(&entries, "told"), 0);
    let count = webhook.count();
    let asked = attester.asked();
    until("rounds go on", || attester.asked() > asked + 3).await;
    assert_eq!(webhook.count(), count, "and left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_agents_are_told_with_the_tenants_signature() {
    let stand = Stand::start().await;
    let key = fixtures_softtpm::shared(fixtures_softtpm::KeyKind::RSA_2048, 50);
    let other = stand.attester("other").await;
    let attester = Attester::start(&stand, "node-1").await;
    stand.enrol(&attester).await;
    let mut add = attester.add();
    add.revocation_key = Some(String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap());
    stand.add(&attester, &add).await;
    stand.until_passed(&attester.id).await;
    attester.measure(15);
    until("both are told", || [&attester, &other].iter().all(|agent| !agent.state.lock().unwrap().notices.is_empty()))
        .await;
    let notice = other.state.lock().unwrap().notices[0].clone();
    let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
    verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    verifier.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
    let signature = openssl::base64::decode_block(&notice.signature).unwrap();
    assert!(verifier.verify_oneshot(&signature, notice.msg.as_bytes()).unwrap());
    assert_ne!(notice.signature, base64(b""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_agent_that_falls_silent_is_told_of() {
    let webhook = Webhook::start(StatusCode::OK).await;
    let stand = Stand::with_webhook(Some(webhook.url.clone())).await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    attester.set(Manner::Refuse(500));
    stand.until_logged(&attester.id, "miss").await;
    until("told", || webhook.count() == 1).await;
    let message: RevocationMessage = serde_json::from_str(&webhook.notices.lock().unwrap()[0].msg).unwrap();
    assert_eq!(message.kind, "comm_error");
}
