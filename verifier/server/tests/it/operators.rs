//! Who may do what, and what is refused.

use http::{Method, StatusCode};
use messages::keylime::{AddAgent, AttestationStatus, OperationalState};
use transport::{
    ca::{Authority, KeyAlgorithm},
    client::{Client, ClientError, Outgoing},
    router::Role,
};

use crate::{
    attester::{Attester, Manner},
    chain,
    stand::{Stand, base64, client_tls, tls_of, until},
};

const ROUTES: [(Method, &str); 13] = [
    (Method::GET, "/v2.6/agents/"),
    (Method::GET, "/v2.6/agents/node-1"),
    (Method::POST, "/v2.6/agents/node-1"),
    (Method::PUT, "/v2.6/agents/node-1"),
    (Method::DELETE, "/v2.6/agents/node-1"),
    (Method::PUT, "/v2.6/agents/node-1/reactivate"),
    (Method::PUT, "/v2.6/agents/node-1/stop"),
    (Method::GET, "/v2.6/allowlists/"),
    (Method::POST, "/v2.6/allowlists/name"),
    (Method::GET, "/v2.6/mbpolicies/"),
    (Method::DELETE, "/v2.6/mbpolicies/name"),
    (Method::PUT, "/v2.6/mbpolicies/name"),
    (Method::POST, "/v2.6/agents/node-1/maintenance"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_admits_whom_it_names_and_nobody_else() {
    let stand = Stand::start().await;
    let reads = |method: &Method, path: &str| *method == Method::GET && !path.ends_with("/version");
    for (role, name) in [
        (None, "nobody"),
        (Some(Role::Service), "service"),
        (Some(Role::Auditor), "auditor"),
        (Some(Role::Admin), "admin"),
    ] {
        let client = Client::new(client_tls(stand.authority(), role));
        for (method, path) in ROUTES {
            let answer = client.request(Outgoing::new(method.clone(), stand.url(path))).await.unwrap();
            let admitted = match role {
                Some(Role::Admin) => true,
                Some(Role::Auditor) => reads(&method, path),
                Some(Role::Service) | None => false,
            };
            assert_eq!(answer.status != StatusCode::FORBIDDEN, admitted, "{name} {method} {path}: {}", answer.status);
        }
        for path in ["/version", "/versions"] {
            let answer = client.request(Outgoing::new(Method::GET, stand.url(path))).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{name} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_agents_and_of_strangers_do_not_even_connect() {
    let stand = Stand::start().await;
    let folder = tempfile::tempdir().unwrap();
    let stranger = Authority::open_or_create(folder.path(), "Other CA", KeyAlgorithm::EcP256).unwrap();
    let foreign = stranger.issue(&transport::ca::Leaf::client("mallory", Role::Admin), KeyAlgorithm::EcP256).unwrap();
    let agent = transport::ca::self_sign("node-1", &[]).unwrap();
    for identity in [foreign, agent] {
        let client = Client::new(tls_of(stand.authority(), Some(identity)));
        let refused = client.request(Outgoing::new(Method::GET, stand.url("/v2.6/agents/"))).await;
        let Err(ClientError::CertificateRefused { .. } | ClientError::Tls { .. } | ClientError::Protocol { .. }) =
            refused
        else {
            panic!("{refused:?}")
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_keylimes_shape() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    let (_, list) = stand.ask(Method::GET, "/v2/agents", None).await;
    assert_eq!(list["results"]["uuids"], serde_json::json!([["node-1"]]));
    let (_, bulk) = stand.ask(Method::GET, "/v2.6/agents/?bulk=True&verifier=", None).await;
    assert_eq!(bulk["results"]["node-1"]["attestation_status"], "PASS");
    assert_eq!(bulk["results"]["node-1"]["v"], serde_json::Value::Null);
    let (_, other) = stand.ask(Method::GET, "/v2.6/agents/?verifier=other", None).await;
    assert_eq!(other["results"]["uuids"], serde_json::json!([]));
    let (_, version) = stand.ask(Method::GET, "/version", None).await;
    assert_eq!(version["results"]["current_version"], "2.6");
    let (status, body) = stand.ask(Method::GET, "/v2.6/allowlists/", None).await;
    assert_eq!((status, &body["results"]), (StatusCode::OK, &serde_json::json!({"runtimepolicy names": []})));
    let (_, body) = stand.ask(Method::GET, "/v2.6/mbpolicies/", None).await;
    assert_eq!(body["results"], serde_json::json!({"mbpolicy names": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unknown_and_the_malformed_are_refused() {
    let stand = Stand::start().await;
    for (method, path) in &ROUTES[1..7] {
        if *method == Method::POST || (*method == Method::PUT && path.ends_with("node-1")) {
            for body in ["", "{}", "[", "{\"v\": 1}"] {
                let (status, answer) = stand.ask(method.clone(), path, Some(body.to_owned())).await;
                assert_eq!(
                    (status, &answer["code"]),
                    (StatusCode::BAD_REQUEST, &serde_json::json!(400)),
                    "{method} {body}"
                );
            }
            continue;
        }
        let (status, answer) = stand.ask(method.clone(), path, None).await;
        assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &serde_json::json!(404)), "{method} {path}");
    }
    for path in ["/v2.6/agents/no%20id", "/v2.6/agents/a%0Ab"] {
        let (status, _) = stand.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
    for path in ["/v1.0/agents/", "/v9.9/agents/node-1", "/2.6/agents/", "/v3.0/agents/", "/"] {
        let (status, _) = stand.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_added_only_with_the_key_it_was_enrolled_with() {
    let stand = Stand::start().await;
    let attester = Attester::start(&stand, "node-1").await;
    let (status, body) = stand.post(&attester.id, &attester.add()).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "not enrolled: {body}");
    let binding = stand.enrol(&attester).await;

    let other = Attester::start(&stand, "node-2").await;
    let add = AddAgent { ak_tpm: base64(&other.ak_tpm()), ..attester.add() };
    let (status, body) = stand.post(&attester.id, &add).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let mut add = attester.add();
    add.attestry.as_mut().unwrap().binding = Some(messages::Digest([9; 32]));
    let (status, body) = stand.post(&attester.id, &add).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let add = AddAgent { runtime_policy: Some("e30=".into()), ..attester.add() };
    let (status, body) = stand.post(&attester.id, &add).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["status"].as_str().unwrap().contains("runtime policy is malformed"), "{body}");
    assert_eq!(chain::kinds(&chain::entries(&stand.ledger(), &attester.id).await), ["enrol"], "nothing was recorded");

    let mut add = attester.add();
    add.attestry.as_mut().unwrap().binding = Some(binding);
    stand.add(&attester, &add).await;
    assert_eq!(stand.until_passed(&attester.id).await.binding, Some(binding));
    let (status, _) = stand.post(&attester.id, &attester.add()).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_reactivate_and_delete_are_recorded_and_done() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_passed(&attester.id).await;
    let (status, _) = stand.ask(Method::PUT, "/v2.6/agents/node-1/stop", None).await;
    assert_eq!(status, StatusCode::OK);
    let stopped = stand.status(&attester.id).await.unwrap();
    assert_eq!(
        (stopped.operational_state, stopped.attestation_status),
        (OperationalState::TenantFailed, AttestationStatus::Fail)
    );
    let asked = attester.asked();
    attester.set(Manner::Mute);
    let (status, _) = stand.ask(Method::PUT, "/v2.6/agents/node-1/reactivate", None).await;
    assert_eq!(status, StatusCode::OK);
    let status = stand.status(&attester.id).await.unwrap();
    assert_eq!(status.attestation_status, AttestationStatus::Pending, "no trust before a fresh pass");
    until("asked again", || attester.asked() > asked).await;
    attester.set(Manner::Honest);
    stand.until_passed(&attester.id).await;

    let (status, _) = stand.ask(Method::DELETE, "/v2.6/agents/node-1", None).await;
    assert!(status == StatusCode::OK || status == StatusCode::ACCEPTED, "{status}");
    assert!(stand.status(&attester.id).await.is_none());
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "operator-action"), 4);
    let asked = attester.asked();
    stand.add(&attester, &attester.add()).await;
    until("an added agent is asked again", || attester.asked() > asked).await;
    stand.until_passed(&attester.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_in_place_keeps_the_history_and_starts_the_judgement_afresh() {
    let stand = Stand::start().await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    attester.measure(15);
    stand.until_failed(&attester.id).await;
    let count = stand.status(&attester.id).await.unwrap().attestation_count;
    let update = AddAgent { v: None, ..attester.add() };
    let body = serde_json::to_string(&update).unwrap();
    let (status, body) = stand.ask(Method::PUT, "/v2.6/agents/node-1", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let passed = stand.until_passed(&attester.id).await;
    assert!(passed.attestation_count > count, "the count goes on");
    assert!(passed.tpm_policy.contains(&update.tpm_policy), "{passed:?}");
    until("the share that was revoked comes again", || attester.shares().len() == 2).await;
    let entries = chain::entries(&stand.ledger(), &attester.id).await;
    assert_eq!(chain::count(&entries, "policy"), 2);
}
