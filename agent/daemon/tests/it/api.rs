//! Who may call, and with what.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::client::Outgoing;
use transport::router::Role;

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_the_sites_authority_are_heard_and_auditors_ask_nothing_of_an_agent() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let routes = [
        (Method::GET, "/v2.6/agent/info"),
        (Method::GET, "/v2.6/keys/pubkey"),
        (Method::GET, "/v2.6/keys/verify?challenge=a"),
        (Method::POST, "/v2.6/keys/ukey"),
        (Method::POST, "/v2.6/keys/vkey"),
        (Method::GET, "/v2.6/quotes/identity?nonce=a"),
        (Method::GET, "/v2.6/quotes/integrity?nonce=a&mask=0&partial=1"),
        (Method::POST, "/v2.6/notifications/revocation"),
    ];
    let foreign = tempfile::tempdir().unwrap();
    let foreign = Authority::open_or_create(foreign.path(), "site", KeyAlgorithm::EcP256).unwrap();
    let foreign = foreign.issue(&Leaf::client("client", Role::Admin), KeyAlgorithm::EcP256).unwrap();
    let own = transport::ca::self_sign("node-1", &[]).unwrap();
    let (service, auditor) = (rig.identity(Role::Service), rig.identity(Role::Auditor));
    for (method, path) in routes {
        let ask = |identity| {
            let client = rig.client(identity, &agent.register);
            let outgoing = Outgoing::new(method.clone(), agent.url(path));
            async move { client.request(outgoing).await.map(|answer| answer.status) }
        };
        assert!(ask(None).await.is_err(), "{path} without a certificate");
        assert!(ask(Some(&foreign)).await.is_err(), "{path} with a foreign certificate");
        assert!(ask(Some(&own)).await.is_err(), "{path} with a self-signed certificate");
        assert_eq!(ask(Some(&auditor)).await.unwrap(), StatusCode::FORBIDDEN, "{path} as an auditor");
        let served = ask(Some(&service)).await.unwrap();
        assert!(matches!(served, StatusCode::OK | StatusCode::BAD_REQUEST), "{path} as a service: {served}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_told_and_others_refused() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let told = agent.results("/version").await;
    assert_eq!(
        told,
        json!({"supported_version": "2.6", "supported_versions": ["2.1", "2.2", "2.3", "2.4", "2.5", "2.6"]})
    );
    for version in ["v2", "v2.1", "v2.6"] {
        agent.results(&format!("/{version}/agent/info")).await;
    }
    assert_eq!(agent.results("/v2.4/agent/info").await["tpm_enc_alg"], "rsa");
    assert_eq!(agent.results("/v2.5/agent/info").await["tpm_enc_alg"], "rsa2048");
    for bad in ["/v2.7/agent/info", "/v3.0/agent/info", "/2.6/agent/info", "/v2.6/agent/nothing", "/v2.6"] {
        let (status, answer) = agent.get(bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {answer}");
    }
    assert_eq!(agent.get("/v3.0/agent/info").await.1["status"], "API version not supported");
    let put = agent.send(Outgoing::new(Method::PUT, agent.url("/v2.6/keys/ukey"))).await.unwrap();
    assert_eq!(put.0, StatusCode::METHOD_NOT_ALLOWED);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_out_of_bounds_are_refused() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let (fits, long) = ("a".repeat(64), "a".repeat(65));
    agent.results(&format!("/v2.6/quotes/identity?nonce={fits}")).await;
    for bad in [
        "/v2.6/quotes/identity".to_owned(),
        "/v2.6/quotes/identity?nonce=".to_owned(),
        "/v2.6/quotes/identity?nonce=a%0ab".to_owned(),
        format!("/v2.6/quotes/identity?nonce={long}"),
        "/v2.6/quotes/integrity?nonce=a&mask=0x1&partial=2".to_owned(),
        "/v2.6/quotes/integrity?nonce=a&mask=zz&partial=0".to_owned(),
        "/v2.6/quotes/integrity?nonce=a&mask=0x1000000&partial=0".to_owned(),
        "/v2.6/quotes/integrity?nonce=a&nonce=b&mask=0x1&partial=0".to_owned(),
        "/v2.6/keys/verify?challenge=".to_owned(),
        "/v2.6/keys/verify?challenge=a;b".to_owned(),
    ] {
        assert_eq!(agent.get(&bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_long_and_malformed_bodies_are_refused() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let tag = "00".repeat(48);
    for bad in [
        "".to_owned(),
        "{".to_owned(),
        "[]".to_owned(),
        json!({"encrypted_key": "###", "auth_tag": tag}).to_string(),
        json!({"encrypted_key": "AAAA", "auth_tag": tag}).to_string(),
        json!({"encrypted_key": "AAAA", "auth_tag": "00"}).to_string(),
        json!({"encrypted_key": 1, "auth_tag": tag}).to_string(),
    ] {
        let (status, answer) = agent.post("/v2.6/keys/ukey", bad.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {answer}");
    }
    let long = vec![b'a'; (2 << 20) + 1];
    assert_eq!(agent.post("/v2.6/keys/ukey", long.clone()).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(agent.post("/v2.6/keys/vkey", vec![b'a'; 5000]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    agent.results("/v2.6/agent/info").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_as_increments_and_only_when_asked_for() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let ask = |mask: &'static str, entry: u32| {
        let path = format!("/v2.6/quotes/integrity?nonce=a&mask={mask}&partial=1&ima_ml_entry={entry}");
        let agent = &agent;
        async move { agent.results(&path).await }
    };
    let none = ask("0x1", 0).await;
    assert!(none.get("ima_measurement_list").is_none() && none.get("mb_measurement_list").is_none());
    std::fs::write(rig.folder.path().join("ima"), "10 a\n10 b\n").unwrap();
    std::fs::write(rig.folder.path().join("boot"), [1, 2, 3]).unwrap();
    let part = |value: &Value| (value["ima_measurement_list"].clone(), value["ima_measurement_list_entry"].clone());
    assert_eq!(part(&ask("0x400", 0).await), (json!("10 a\n10 b\n"), json!(0)));
    assert_eq!(part(&ask("0x400", 2).await), (json!(""), json!(2)));
    std::fs::write(rig.folder.path().join("ima"), "10 a\n10 b\n10 c\n").unwrap();
    assert_eq!(part(&ask("0x400", 2).await), (json!("10 c\n"), json!(2)));
    assert_eq!(part(&ask("0x400", 9).await), (json!("10 a\n10 b\n10 c\n"), json!(0)));
    assert_eq!(ask("0x1", 3).await["mb_measurement_list"], "AQID");
    assert!(ask("0x2", 3).await.get("mb_measurement_list").is_none());
    std::fs::write(rig.folder.path().join("ima"), [0xff, 0xfe, b'\n']).unwrap();
    let binary = agent.get("/v2.6/quotes/integrity?nonce=a&mask=0&partial=1&ima_ml_entry=0").await;
    assert_eq!(binary.0, StatusCode::INTERNAL_SERVER_ERROR);
    agent.stop().await;
}
