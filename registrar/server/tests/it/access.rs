//! Each route with each kind of caller.

use http::{Method, StatusCode};
use transport::ca::{Authority, KeyAlgorithm, Leaf, self_sign};
use transport::client::ClientError;
use transport::router::Role;

use crate::attester::Attester;
use crate::stand::{Stand, send};
use fixtures_softtpm::KeyKind;

const READ: [(Method, &str); 4] = [
    (Method::GET, "/v2.6/agents"),
    (Method::GET, "/v2.6/agents/"),
    (Method::GET, "/v2/agents/node-1"),
    (Method::GET, "/v2.0/agents/node-1/"),
];
const CHANGE: (Method, &str) = (Method::DELETE, "/v2.6/agents/node-1");

async fn stand_with_agent() -> Stand {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    stand
}

#[tokio::test]
async fn operators_read_and_delete_while_auditors_and_services_only_read() {
    let stand = stand_with_agent().await;
    for (role, deletes) in
        [(Role::Auditor, StatusCode::FORBIDDEN), (Role::Service, StatusCode::FORBIDDEN), (Role::Admin, StatusCode::OK)]
    {
        let client = stand.with_role(role);
        for (method, path) in READ {
            let url = format!("https://{}{path}", stand.tls);
            let answer = send(&client, method, url, String::new(), &[]).await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{role:?} {path}");
        }
        let (method, path) = CHANGE;
        let url = format!("https://{}{path}", stand.tls);
        let answer = send(&client, method, url, String::new(), &[]).await.unwrap();
        assert_eq!(answer.status, deletes, "{role:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_or_with_a_bearer_token_nothing_is_shown() {
    let stand = stand_with_agent().await;
    let (anonymous, admin) = (stand.client(None), stand.with_role(Role::Admin));
    for (method, path) in READ.into_iter().chain([CHANGE]) {
        let url = format!("https://{}{path}", stand.tls);
        let refused = send(&anonymous, method.clone(), url.clone(), String::new(), &[]).await.unwrap();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.json()["errors"][0]["title"], "Forbidden");
        let header = [("authorization", "Bearer x")];
        let refused = send(&admin, method.clone(), url, String::new(), &header).await.unwrap();
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let plain = format!("http://{}{path}", stand.plain);
        let refused = send(&admin, method, plain, String::new(), &[]).await.unwrap();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "not without TLS");
    }
    assert_eq!(stand.admin(Method::GET, "/v2.6/agents/node-1").await.status, StatusCode::OK, "still there");
}

#[tokio::test]
async fn foreign_and_agent_certificates_get_no_connection() {
    let stand = stand_with_agent().await;
    let foreign = tempfile::tempdir().unwrap();
    let foreign = Authority::open_or_create(foreign.path(), "Test Authority", KeyAlgorithm::EcP256).unwrap();
    let identities = [
        foreign.issue(&Leaf::client("alice", Role::Admin), KeyAlgorithm::EcP256).unwrap(),
        self_sign("node-1", &[]).unwrap(),
        stand.issue(&Leaf::server("alice", &[], &[])),
    ];
    for identity in identities {
        let client = stand.client(Some(identity));
        for (method, path) in READ.into_iter().chain([CHANGE]) {
            let url = format!("https://{}{path}", stand.tls);
            let refused = send(&client, method, url, String::new(), &[]).await.unwrap_err();
            let by_tls = matches!(
                refused,
                ClientError::CertificateRefused { .. } | ClientError::Tls { .. } | ClientError::Protocol { .. }
            );
            assert!(by_tls, "{refused}");
        }
    }
    assert_eq!(stand.admin(Method::GET, "/v2.6/agents/node-1").await.status, StatusCode::OK, "still there");
}

#[tokio::test]
async fn an_agent_registers_over_tls_without_a_certificate_too() {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let client = stand.client(None);
    let url = format!("https://{}{}", stand.tls, agent.path());
    let body = serde_json::to_string(&agent.body).unwrap();
    let registered = send(&client, Method::POST, url.clone(), body, &[]).await.unwrap();
    let proof = agent.solve(&registered).to_string();
    let activated = send(&client, Method::PUT, url, proof, &[]).await.unwrap();
    assert_eq!(activated.status, StatusCode::OK);
}
