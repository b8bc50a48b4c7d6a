//! Chains on which others write too, and agents that come and go in them.

use fixtures_softtpm::{KeyKind, SoftTpm};
use http::{Method, StatusCode};
use ledger_protocol::{
    Kind,
    body::{Body, Miss, MissReason, QuoteBody, Retire, Verdict, VerdictResult},
};
use messages::{
    UnixMillis,
    keylime::{AddAgent, AttestationStatus},
    ledger::{Group, Item},
};
use serde_bytes::ByteBuf;

use crate::{
    attester::Attester,
    chain,
    notices::Webhook,
    stand::{Stand, until},
};

fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

async fn retire(stand: &Stand, attester: &Attester) {
    let retired = item(&Retire { actor: "test".into(), reason: "sold".into() });
    insist(stand, attester, retired).await;
}

/// Appends beside the verifier, which appends as well.
async fn insist(stand: &Stand, attester: &Attester, item: Item) {
    for _ in 0..1_000 {
        let head = stand.ledger().head(Some(&attester.id)).await.unwrap();
        let group = Group { agent: Some(attester.id.clone()), expected: Some(head), items: vec![item.clone()] };
        if stand.ledger().append(group).await.is_ok() {
            return;
        }
    }
    panic!("the verifier was always faster");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_on_the_chain_costs_a_round_and_nothing_else() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    for _ in 0..5 {
        let miss = Miss { due: UnixMillis(1), reason: MissReason::Unreachable, attempts: 1, text: "other".into() };
        insist(&stand, &attester, item(&miss)).await;
        let count = stand.status(&attester.id).await.unwrap().attestation_count;
        stand.until(&attester.id, "rounds go on", |status| status.attestation_count > count + 1).await;
    }
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "fail"), 0, "{:?}", chain::kinds(&entries));
    assert_eq!(chain::count(&entries, "quote"), chain::count(&entries, "pass"));
    assert_eq!(attester.shares().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_agent_is_no_longer_judged_and_can_still_be_deleted() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    retire(&stand, &attester).await;
    let says =
        |status: &messages::keylime::AgentStatus| status.reason.as_deref().unwrap_or_default().contains("not enrolled");
    stand.until(&attester.id, "the status says why", says).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::kinds(&entries).last().map(String::as_str), Some("retire"));
    let (status, body) = stand.ask(Method::DELETE, "/v2.6/agents/node-1", None).await;
    assert!(status.is_success(), "{body}");
    assert!(stand.status(&attester.id).await.is_none());
    let (status, _) = stand.post(&attester.id, &attester.add()).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "not before it is enrolled again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_tpm_fails_until_it_is_enrolled_and_the_agent_updated() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    {
        let mut state = attester.state.lock().unwrap();
        let pem = state.nk.public_key_to_pem().unwrap();
        // Its clock is behind the old one's, as a new TPM's is.
        state.tpm = SoftTpm::new(KeyKind::P256, 500);
        state.tpm.clock.clock_ms = 1;
        state.tpm.clock.reset_count = 0;
        state.tpm.measure(16, &pem);
    }
    stand.until_failed(&attester.id).await;
    let body = || serde_json::to_string(&attester.add()).unwrap();
    let (status, answer) = stand.ask(Method::PUT, "/v2.6/agents/node-1", Some(body())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "another key than the enrolled one: {answer}");

    retire(&stand, &attester).await;
    let binding = stand.enrol_again(&attester).await;
    let (status, answer) = stand.ask(Method::PUT, "/v2.6/agents/node-1", Some(body())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let status = stand.until_passed(&attester.id).await;
    assert_eq!(status.binding, Some(binding));
    assert_eq!(status.attestation_status, AttestationStatus::Pass);
    until("the share comes again", || attester.shares().len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_tpm_of_an_id_that_was_enrolled_anew_is_neither_judged_nor_given_a_key() {
    let stand = Stand::start().await;
    let old = Attester::start(&stand, "node-1").await;
    stand.enrol(&old).await;
    stand.add(&old, &AddAgent { v: None, ..old.add() }).await;
    stand.until_passed(&old.id).await;
    retire(&stand, &old).await;
    let new = Attester::start(&stand, "node-1").await;
    let binding = stand.enrol_again(&new).await;
    let says = |status: &messages::keylime::AgentStatus| {
        status.reason.as_deref().unwrap_or_default().contains(&binding.to_string())
    };
    stand.until(&old.id, "the status says why", says).await;
    let kinds = chain::kinds(&chain::entries(&stand.ledger(), &old.id).await);
    assert_eq!(
        kinds.last().map(String::as_str),
        Some("enrol"),
        "the old TPM is quoted under the new binding: {kinds:?}"
    );
}

/// What a verifier leaves that dies between a failing verdict and its revocation.
async fn fail_unraised(stand: &Stand, attester: &Attester) {
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    let last = |kind| entries.iter().rev().find(|(entry, _)| entry.kind == kind).unwrap().0.clone();
    insist(stand, attester, item(&QuoteBody::decode(&last(Kind::Quote).body).unwrap())).await;
    let (_, quote) = chain::entries(&stand.ledger(), &attester.id).await.pop().unwrap();
    let verdict = Verdict::decode(&last(Kind::Verdict).body).unwrap();
    insist(stand, attester, item(&Verdict { quote, result: VerdictResult::Fail, ..verdict })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_of_an_operator_leaves_a_failure_unraised() {
    let mut stand = Stand::start().await;
    let path = "/v2.6/agents/node-1";
    let attester = Attester::start(&stand, "node-1").await;
    stand.enrol(&attester).await;
    let mut add = attester.add();
    // Not asked again by itself within the test.
    add.attestry.as_mut().unwrap().interval_ms = Some(3_600_000);
    stand.add(&attester, &add).await;
    stand.until_logged(&attester.id, "delivered").await;
    let update = serde_json::to_string(&add).unwrap();
    let commands = [
        (Method::PUT, path.to_owned(), Some(update)),
        (Method::PUT, format!("{path}/reactivate"), None),
        (Method::PUT, format!("{path}/stop"), None),
        (Method::DELETE, path.to_owned(), None),
    ];
    for (number, (method, path, body)) in commands.into_iter().enumerate() {
        let passes = chain::count(&chain::entries(&stand.ledger(), &attester.id).await, "pass");
        stand.stop_verifier().await;
        fail_unraised(&stand, &attester).await;
        stand.start_verifier().await;
        let (status, body) = stand.ask(method.clone(), &path, body).await;
        assert!(status.is_success(), "{method} {path}: {body}");
        let entries = chain::entries(&stand.ledger(), &attester.id).await;
        assert_eq!(chain::count(&entries, "raised"), number + 1, "{method} {path}: {:?}", chain::kinds(&entries));
        if number < 2 {
            // Judged afresh; the next failure is one of its own.
            let begun = std::time::Instant::now();
            while chain::count(&chain::entries(&stand.ledger(), &attester.id).await, "pass") == passes {
                assert!(begun.elapsed() < crate::stand::DEADLINE, "no pass after {path}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        if number == 2 {
            stand.ask(Method::PUT, "/v2.6/agents/node-1/reactivate", None).await;
            stand.until_passed(&attester.id).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notice_leaves_whose_revocation_is_not_on_record() {
    let webhook = Webhook::start(StatusCode::OK).await;
    let mut stand = Stand::with_webhook(Some(webhook.url.clone())).await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    stand.stop_verifier().await;
    fail_unraised(&stand, &attester).await;
    // From here on the ledger takes no revocation on this chain.
    retire(&stand, &attester).await;
    stand.start_verifier().await;
    let says =
        |status: &messages::keylime::AgentStatus| status.reason.as_deref().unwrap_or_default().contains("a revocation");
    stand.until(&attester.id, "the status says why", says).await;
    // As long as many a notice takes.
    tokio::time::sleep(crate::stand::POLLING.ledger_retry * 6).await;
    assert_eq!(webhook.count(), 0);
}

#[test]
fn our_status_has_every_member_of_keylimes() {
    let sample = "../shared/samples/keylime/server_GET_v2.6_agents_id_verifier_200.txt";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(sample);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {sample} is not there; Keylime's status is not compared");
        return;
    };
    let body = text.lines().find(|line| line.starts_with("{\"code\"")).unwrap();
    let mut theirs: serde_json::Value = serde_json::from_str(body).unwrap();
    let theirs = theirs["results"].take();
    let parsed: messages::keylime::AgentStatus = serde_json::from_value(theirs.clone()).unwrap();
    let ours = serde_json::to_value(parsed).unwrap();
    for (member, value) in theirs.as_object().unwrap() {
        assert_eq!(ours.get(member), Some(value), "{member}");
    }
}
