//! An identity's whole life: registered, activated, read, registered again, deleted, back.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fixtures_softtpm::KeyKind;
use http::{Method, StatusCode};
use ledger_protocol::Kind;
use ledger_protocol::body::{Binding, Body, Enrol, OperatorAction, Retire};
use messages::Digest;
use serde_json::json;

use crate::attester::{Attester, tls_certificate};
use crate::stand::Stand;

#[tokio::test]
async fn tpms_of_each_kind_enrol_and_are_recorded_before_they_are_listed() {
    let stand = Stand::new().await;
    let kinds = [KeyKind::RSA_2048, KeyKind::P256, KeyKind::P384];
    for (slot, kind) in (0..).zip(kinds) {
        let agent = Attester::certified(&format!("node-{slot}"), kind, 0, &stand.vendor);
        let registered = agent.register(&stand).await;
        // Handed-out credentials make nothing active.
        assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::NOT_FOUND);
        assert!(stand.chain(&agent.id).await.is_empty());

        let activated = agent.activate(&stand, &agent.solve(&registered)).await;
        assert_eq!(activated.json(), json!({"code": 200, "status": "Success", "results": {}}));

        let chain = stand.chain(&agent.id).await;
        assert_eq!(chain.len(), 1);
        let enrol = Enrol::decode(&chain[0].body).unwrap();
        assert_eq!((enrol.slot, enrol.ek_certificate), (slot, 0));
        let blob = stand.ledger_client().blob(&enrol.binding).await.unwrap();
        let binding = Binding::decode(&blob).unwrap();
        assert_eq!(binding.agent.as_str(), agent.id);
        assert_eq!(binding.ek.as_slice(), agent.tpm.ek.tpm2b_public());
        assert_eq!(binding.ak.as_slice(), agent.tpm.ak.tpm2b_public());

        let read = stand.admin(Method::GET, &agent.path()).await.json();
        let results = &read["results"];
        assert_eq!(results["agent_id"], agent.id);
        assert_eq!(results["ek_tpm"], agent.body.ek_tpm.clone().unwrap());
        assert_eq!(results["aik_tpm"], agent.body.aik_tpm);
        assert_eq!(results["ekcert"], agent.body.ekcert.clone().unwrap());
        assert_eq!(results["mtls_cert"], agent.body.mtls_cert.clone().unwrap());
        assert_eq!((&results["ip"], &results["port"]), (&json!("127.0.0.1"), &json!(9002)));
        assert_eq!(results["regcount"], 1);
        assert_eq!(results["binding"], enrol.binding.to_string());
    }
    let listed = stand.admin(Method::GET, "/v2.6/agents/").await.json();
    assert_eq!(listed["results"], json!({"uuids": ["node-0", "node-1", "node-2"]}));
}

#[tokio::test]
async fn every_v2_version_and_spelling_of_the_routes_works_and_no_other() {
    let stand = Stand::new().await;
    let versions = stand.public(Method::GET, "/version", &json!(null)).await.json();
    assert_eq!(versions["results"]["current_version"], "2.6");
    let supported = versions["results"]["supported_versions"].as_array().unwrap().clone();
    assert_eq!(supported.len(), 7);
    assert_eq!(stand.admin(Method::GET, "/versions").await.json(), versions);

    let prefixes = supported.iter().map(|version| format!("v{}", version.as_str().unwrap()));
    for (number, prefix) in prefixes.chain(["v2".to_owned()]).enumerate() {
        let agent = Attester::certified(&format!("n{number}"), KeyKind::P256, number, &stand.vendor);
        let path = format!("/{prefix}/agents/{}", agent.id);
        let body = serde_json::to_value(&agent.body).unwrap();
        let (register_at, method, activate_at) = match number % 3 {
            0 => (path.clone(), Method::PUT, path.clone()),
            1 => (format!("{path}/"), Method::PUT, format!("{path}/activate")),
            _ => (path.clone(), Method::POST, format!("{path}/activate/")),
        };
        let registered = stand.public(Method::POST, &register_at, &body).await;
        let activated = stand.public(method, &activate_at, &agent.solve(&registered)).await;
        assert_eq!(activated.status, StatusCode::OK, "{path}");
        for slash in ["", "/"] {
            let read = stand.admin(Method::GET, &format!("{path}{slash}")).await;
            assert_eq!(read.status, StatusCode::OK);
            let listed = stand.admin(Method::GET, &format!("/{prefix}/agents{slash}")).await.json();
            assert_eq!(listed["results"]["uuids"].as_array().unwrap().len(), number + 1);
        }
    }
    let agent = Attester::certified("other", KeyKind::P256, 0, &stand.vendor);
    let body = serde_json::to_value(&agent.body).unwrap();
    for prefix in ["v1.0", "v2.7", "v2.60", "v3.0", "v9.9", "2.6", "V2.6"] {
        let path = format!("/{prefix}/agents/other");
        let refused = stand.public(Method::POST, &path, &body).await;
        assert_eq!((refused.status, refused.body.as_str()), (StatusCode::NOT_FOUND, ""), "{prefix}");
        assert_eq!(stand.admin(Method::GET, &path).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_can_be_asked_for_again_and_nothing_is_done_twice() {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let proof = agent.solve(&agent.register(&stand).await);
    for _ in 0..3 {
        assert_eq!(agent.activate(&stand, &proof).await.status, StatusCode::OK);
    }
    assert_eq!(stand.chain("node-1").await.len(), 1);
    // A wrong proof ends that, and leaves the active record alone.
    let before = stand.admin(Method::GET, &agent.path()).await.body;
    let wrong = agent.activate(&stand, &json!({"auth_tag": "00".repeat(48)})).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(agent.activate(&stand, &proof).await.status, StatusCode::NOT_FOUND);
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.body, before);
}

#[tokio::test]
async fn the_same_tpm_registers_again_and_moves_only_with_its_activation() {
    let stand = Stand::new().await;
    let mut agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    let before = stand.admin(Method::GET, &agent.path()).await.body;

    agent.body.ip = Some("node-1.example".to_owned());
    agent.body.port = Some(9999);
    agent.body.mtls_cert = Some(tls_certificate("node-1"));
    let registered = agent.register(&stand).await;
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.body, before);
    let activated = agent.activate(&stand, &agent.solve(&registered)).await;
    assert_eq!(activated.status, StatusCode::OK);

    let after = stand.admin(Method::GET, &agent.path()).await.json();
    assert_eq!(after["results"]["ip"], "node-1.example");
    assert_eq!(after["results"]["port"], 9999);
    assert_eq!(after["results"]["mtls_cert"], agent.body.mtls_cert.clone().unwrap());
    assert_eq!(after["results"]["regcount"], 1);
    assert_eq!(stand.chain("node-1").await.len(), 1, "the ledger has the agent once");
}

#[tokio::test]
async fn a_deleted_agent_is_retired_first_and_comes_back_to_its_slot_even_with_another_tpm() {
    let stand = Stand::new().await;
    let first = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let other = Attester::certified("node-2", KeyKind::P256, 1, &stand.vendor);
    assert_eq!(first.enrol(&stand).await.status, StatusCode::OK);
    assert_eq!(other.enrol(&stand).await.status, StatusCode::OK);

    let deleted = stand.admin(Method::DELETE, "/v2.6/agents/node-1").await;
    assert_eq!(deleted.json(), json!({"code": 200, "status": "Success", "results": {}}));
    let again = stand.admin(Method::DELETE, "/v2.6/agents/node-1").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(again.reason(), "Agent with ID 'node-1' not found");
    assert_eq!(stand.admin(Method::GET, "/v2.6/agents/node-1").await.status, StatusCode::NOT_FOUND);

    let chain = stand.chain("node-1").await;
    let kinds: Vec<Kind> = chain.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Enrol, Kind::OperatorAction, Kind::Retire]);
    let action = OperatorAction::decode(&chain[1].body).unwrap();
    assert_eq!((action.action.as_str(), action.actor.as_str()), ("agent-delete", "alice"));
    assert_eq!(action.target.as_deref(), Some("node-1"));
    assert_eq!(Retire::decode(&chain[2].body).unwrap().actor, "alice");

    let second = Attester::certified("node-1", KeyKind::RSA_2048, 0, &stand.vendor);
    assert_eq!(second.enrol(&stand).await.status, StatusCode::OK);
    let chain = stand.chain("node-1").await;
    let (old, new) = (Enrol::decode(&chain[0].body).unwrap(), Enrol::decode(&chain[3].body).unwrap());
    assert_eq!((old.slot, new.slot), (0, 0));
    assert_ne!(old.binding, new.binding);
}

#[tokio::test]
async fn many_agents_enrol_at_once_into_slots_without_gaps() {
    let stand = Stand::new().await;
    let agents: Vec<Attester> = (0..40)
        .map(|number| Attester::certified(&format!("node-{number}"), KeyKind::P256, number, &stand.vendor))
        .collect();
    let enrolments = futures(agents.iter().map(|agent| agent.enrol(&stand))).await;
    assert!(enrolments.iter().all(|enrolled| enrolled.status == StatusCode::OK));
    let mut slots = BTreeSet::new();
    for agent in &agents {
        let chain = stand.chain(&agent.id).await;
        assert_eq!(chain.len(), 1);
        slots.insert(Enrol::decode(&chain[0].body).unwrap().slot);
    }
    assert_eq!(slots, (0..40).collect());
}

#[tokio::test]
async fn a_lost_book_is_no_licence_to_take_an_id() {
    let mut stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    let before = stand.admin(Method::GET, &agent.path()).await.body;
    stand.stop().await;
    std::fs::remove_dir_all(stand.data("registrar")).unwrap();
    stand.start().await;

    let thief = Attester::certified("node-1", KeyKind::P256, 1, &stand.vendor);
    let refused = thief.enrol(&stand).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.reason().contains("ek_tpm, ekcert, aik_tpm"), "{refused:?}");
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::NOT_FOUND);

    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    let after = stand.admin(Method::GET, &agent.path()).await.body;
    assert_eq!(after, before);
    assert_eq!(stand.chain("node-1").await.len(), 1);
}

#[tokio::test]
async fn an_enrolment_without_a_verified_ek_certificate_says_so_in_the_ledger() {
    let mut stand = Stand::without_registrar().await;
    stand.policy = registrar_protocol::EkCertificatePolicy::DangerNotRequired;
    stand.start().await;
    let agent = Attester::new("node-1", fixtures_softtpm::SoftTpm::new(KeyKind::P256, 0), None);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    let chain = stand.chain("node-1").await;
    assert_eq!(Enrol::decode(&chain[0].body).unwrap().ek_certificate, 1);
    let read = stand.admin(Method::GET, &agent.path()).await.json();
    assert!(read["results"]["ekcert"].is_null());
}

#[tokio::test]
async fn the_chain_an_agent_sends_becomes_part_of_its_record() {
    let stand = Stand::new().await;
    let intermediate = stand.vendor.intermediate("Vendor Intermediate", fixtures_softtpm::Validity::USUAL);
    let mut agent = Attester::certified("node-1", KeyKind::P256, 0, &intermediate);
    let certificate = STANDARD.decode(agent.body.ekcert.clone().unwrap()).unwrap();
    assert_eq!(agent.register(&stand).await.status, StatusCode::BAD_REQUEST);
    let pem = |der: &[u8]| {
        let certificate = openssl::x509::X509::from_der(der).unwrap();
        String::from_utf8(certificate.to_pem().unwrap()).unwrap()
    };
    agent.body.ekcert = Some(pem(&certificate) + &pem(&intermediate.der()));
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    let read = stand.admin(Method::GET, &agent.path()).await.json();
    assert_eq!(read["results"]["ekcert"], STANDARD.encode(&certificate));
    let digest: Digest = read["results"]["binding"].as_str().unwrap().parse().unwrap();
    let binding = Binding::decode(&stand.ledger_client().blob(&digest).await.unwrap()).unwrap();
    assert_eq!(binding.chain.len(), 1);
    assert_eq!(binding.chain[0].as_slice(), intermediate.der());
}

/// Runs all at once and waits for each.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (one, output) in &mut all {
            if output.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().map(|(_, output)| output.unwrap()).collect()
}
