//! Every wrong way to register or to activate, over a real socket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fixtures_softtpm::{AK_ATTRIBUTES, KeyKind, SoftCa, SoftTpm, Validity, attribute};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::attester::Attester;
use crate::stand::{Reply, Stand, send};

async fn refused_data(stand: &Stand, agent: &Attester) -> String {
    let refused = agent.register(stand).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    let reason = refused.reason();
    assert!(reason.starts_with("Could not register agent with invalid data: "), "{reason}");
    reason
}

#[tokio::test]
async fn ek_certificates_that_prove_nothing_are_refused() {
    let stand = Stand::new().await;
    let tpm = || SoftTpm::new(KeyKind::RSA_2048, 0);
    let other = SoftTpm::new(KeyKind::RSA_2048, 1);

    let of_another_key = stand.vendor.certify_ek(&other.ek.key, Validity::USUAL);
    let reason = refused_data(&stand, &Attester::new("a", tpm(), Some(&of_another_key))).await;
    assert!(reason.contains("ekcert is not the certificate of ek_tpm"), "{reason}");

    let of_unknown_root = SoftCa::root("Unknown").certify_ek(&tpm().ek.key, Validity::USUAL);
    let reason = refused_data(&stand, &Attester::new("a", tpm(), Some(&of_unknown_root))).await;
    assert!(reason.contains("Unknown"), "{reason}");

    let expired = stand.vendor.certify_ek(&tpm().ek.key, Validity::PAST);
    let reason = refused_data(&stand, &Attester::new("a", tpm(), Some(&expired))).await;
    assert!(reason.contains("expired at"), "{reason}");

    let reason = refused_data(&stand, &Attester::new("a", tpm(), None)).await;
    assert!(reason.contains("ekcert is missing"), "{reason}");

    let good = stand.vendor.certify_ek(&tpm().ek.key, Validity::USUAL);
    let spoilt = [good.clone(), vec![7; 40]].concat();
    let reason = refused_data(&stand, &Attester::new("a", tpm(), Some(&spoilt))).await;
    assert!(reason.contains("ekcert is not a certificate"), "{reason}");
    // Padding as NV memory has it is no reason; and the same TPM does pass.
    let padded = [good, vec![0xff; 40]].concat();
    assert_eq!(Attester::new("a", tpm(), Some(&padded)).enrol(&stand).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_root_counts_from_the_moment_it_is_dropped_into_the_trust_folder() {
    let stand = Stand::new().await;
    let late = SoftCa::root("Late Root");
    let agent = Attester::certified("a", KeyKind::P256, 0, &late);
    refused_data(&stand, &agent).await;
    std::fs::write(stand.data("trust/late.pem"), late.pem()).unwrap();
    let deadline = std::time::Instant::now() + crate::stand::SOON;
    while agent.register(&stand).await.status != StatusCode::OK {
        assert!(std::time::Instant::now() < deadline, "the trust folder is not read again");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_ak_that_lacks_any_attribute_gets_no_credential() {
    let stand = Stand::new().await;
    let cases = [
        (AK_ATTRIBUTES & !attribute::FIXED_TPM, "fixedTPM"),
        (AK_ATTRIBUTES & !attribute::FIXED_PARENT, "fixedParent"),
        (AK_ATTRIBUTES & !attribute::SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
        (AK_ATTRIBUTES & !attribute::RESTRICTED, "restricted"),
        (AK_ATTRIBUTES & !attribute::SIGN, "sign"),
        (AK_ATTRIBUTES | attribute::DECRYPT, "decrypt"),
    ];
    let tpm = SoftTpm::new(KeyKind::RSA_2048, 0);
    let certificate = stand.vendor.certify_ek(&tpm.ek.key, Validity::USUAL);
    for (attributes, name) in cases {
        let tpm = SoftTpm::with_keys(tpm.ek.clone(), tpm.ak.clone().with_attributes(attributes));
        let reason = refused_data(&stand, &Attester::new("a", tpm, Some(&certificate))).await;
        assert!(reason.contains("aik_tpm is refused") && reason.contains(name), "{reason}");
    }
    assert_eq!(Attester::new("a", tpm, Some(&certificate)).enrol(&stand).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_proof_learns_nothing_and_uses_up_the_credential() {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let right = agent.solve(&agent.register(&stand).await);
    let tag = right["auth_tag"].as_str().unwrap();
    let mut near = tag.to_owned().into_bytes();
    near[95] = if near[95] == b'0' { b'1' } else { b'0' };
    let near = String::from_utf8(near).unwrap();

    let answers: Vec<Reply> = {
        let mut answers = Vec::new();
        for wrong in [near.as_str(), &"00".repeat(48), "00", "", "not hexadecimal", &format!("{tag}00")] {
            agent.register(&stand).await;
            answers.push(agent.activate(&stand, &json!({"auth_tag": wrong})).await);
        }
        answers
    };
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.body, answers[0].body, "every wrong proof gets the same answer");
        assert!(!answer.body.contains(&tag[..8]));
    }

    let right = agent.solve(&agent.register(&stand).await);
    agent.activate(&stand, &json!({"auth_tag": near})).await;
    let late = agent.activate(&stand, &right).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND, "one attempt per credential");
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::NOT_FOUND);
    assert!(stand.chain("node-1").await.is_empty());
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK, "it may start over");
}

#[tokio::test]
async fn a_proof_is_good_for_its_own_registration_only() {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let stale = agent.solve(&agent.register(&stand).await);
    agent.register(&stand).await;
    assert_eq!(agent.activate(&stand, &stale).await.status, StatusCode::BAD_REQUEST);
    // Nor for another id with the same TPM.
    let twin = Attester { id: "node-2".to_owned(), ..agent.clone() };
    let of_agent = agent.solve(&agent.register(&stand).await);
    twin.register(&stand).await;
    assert_eq!(twin.activate(&stand, &of_agent).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_second_tpm_cannot_take_an_id_and_changes_nothing_by_trying() {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    let before = stand.admin(Method::GET, &agent.path()).await.body;

    let other = Attester::certified("node-1", KeyKind::P256, 1, &stand.vendor);
    let other_ak = SoftTpm::with_keys(agent.tpm.ek.clone(), other.tpm.ak.clone());
    let certificate = STANDARD.decode(agent.body.ekcert.as_ref().unwrap()).unwrap();
    let other_ak = Attester::new("node-1", other_ak, Some(&certificate));
    let other_ek = SoftTpm::with_keys(other.tpm.ek.clone(), agent.tpm.ak.clone());
    let certificate = stand.vendor.certify_ek(&other.tpm.ek.key, Validity::USUAL);
    let other_ek = Attester::new("node-1", other_ek, Some(&certificate));
    let cases = [(&other, "ek_tpm, ekcert, aik_tpm"), (&other_ak, "aik_tpm"), (&other_ek, "ek_tpm, ekcert")];
    for (claimant, differs) in cases {
        let refused = claimant.register(&stand).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(refused.reason().ends_with(&format!("with another {differs}")), "{refused:?}");
        assert_eq!(stand.admin(Method::GET, &agent.path()).await.body, before);
    }
    assert_eq!(stand.chain("node-1").await.len(), 1);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK, "the holder still may");
}

#[tokio::test]
async fn of_two_tpms_that_race_for_an_id_the_loser_is_refused() {
    let stand = Stand::new().await;
    let first = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let second = Attester::certified("node-1", KeyKind::P256, 1, &stand.vendor);
    // Both get a credential while the id is free; the later registration is the one that can be activated.
    let first_proof = first.solve(&first.register(&stand).await);
    let second_proof = second.solve(&second.register(&stand).await);
    assert_eq!(second.activate(&stand, &second_proof).await.status, StatusCode::OK);
    assert_eq!(first.activate(&stand, &first_proof).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(first.register(&stand).await.status, StatusCode::FORBIDDEN);
    let read = stand.admin(Method::GET, &first.path()).await.json();
    assert_eq!(read["results"]["aik_tpm"], second.body.aik_tpm);
}

#[tokio::test]
async fn malformed_bodies_are_named_and_long_ones_cut_off() {
    let stand = Stand::new().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let good = serde_json::to_value(&agent.body).unwrap();
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body.to_string()
    };
    let cases = [
        (String::new(), "Malformed JSON body"),
        ("{".to_owned(), "Malformed JSON body"),
        ("[]".to_owned(), "Malformed JSON body"),
        ("{}".to_owned(), "Malformed JSON body"),
        (with("aik_tpm", json!(7)), "Malformed JSON body"),
        (with("port", json!(70_000)), "Malformed JSON body"),
        (with("aik_tpm", json!("")), "aik_tpm is missing"),
        (with("ek_tpm", json!(null)), "ek_tpm is missing"),
        (with("aik_tpm", json!("%%%%")), "aik_tpm is not base64"),
        (with("aik_tpm", json!("AAAA")), "aik_tpm is not the TPM2B_PUBLIC"),
        (with("ek_tpm", json!("//8AAA==")), "ek_tpm is not the TPM2B_PUBLIC"),
        (with("ekcert", json!("MIID")), "ekcert is not a certificate"),
        (with("ip", json!("evil\nhost")), "is neither an IP address nor a host name"),
        (with("mtls_cert", json!("PEM")), "mtls_cert is not exactly one PEM certificate"),
        (with("iak_tpm", json!("!")), "iak_tpm is not base64"),
    ];
    let client = stand.client(None);
    let url = format!("http://{}/v2.6/agents/node-1", stand.plain);
    for (body, expected) in cases {
        let refused = send(&client, Method::POST, url.clone(), body.clone(), &[]).await.unwrap();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(refused.reason().contains(expected), "{body}: {refused:?}");
    }
    for (method, length) in [(Method::POST, 64 * 1024 + 1), (Method::PUT, 1025)] {
        let refused = send(&client, method.clone(), url.clone(), " ".repeat(length), &[]).await.unwrap();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{method}");
    }
    for body in ["", "{}", "{\"auth_tag\": 7}", "nonsense"] {
        let refused = send(&client, Method::PUT, url.clone(), body.to_owned(), &[]).await.unwrap();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
    }
    // A body that is no activation is no attempt at one.
    let proof = agent.solve(&agent.register(&stand).await);
    send(&client, Method::PUT, url.clone(), "{}".to_owned(), &[]).await.unwrap();
    assert_eq!(agent.activate(&stand, &proof).await.status, StatusCode::OK);
}

#[tokio::test]
async fn ids_that_are_none_are_refused_and_unknown_ones_not_found() {
    let stand = Stand::new().await;
    let body = json!({"auth_tag": "00"});
    for id in ["a%0Ab", "a%20b", "%1b%5b31m", "a;b", &"a".repeat(81)] {
        let path = format!("/v2.6/agents/{id}");
        for method in [Method::POST, Method::PUT] {
            let refused = stand.public(method, &path, &body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{id}");
        }
        assert_eq!(stand.admin(Method::GET, &path).await.status, StatusCode::BAD_REQUEST);
        assert_eq!(stand.admin(Method::DELETE, &path).await.status, StatusCode::BAD_REQUEST);
    }
    let unknown = stand.public(Method::PUT, "/v2.6/agents/nosuch/activate", &body).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let expected = json!({"code": 404, "status": "Agent with ID 'nosuch' not found", "results": {}});
    assert_eq!(unknown.json(), expected);
    assert_eq!(stand.admin(Method::GET, "/v2.6/agents/nosuch").await.json(), expected);
    assert_eq!(stand.admin(Method::DELETE, "/v2.6/agents/nosuch").await.json(), expected);
}

#[tokio::test]
async fn a_network_that_registers_too_often_must_wait() {
    let mut stand = Stand::without_registrar().await;
    stand.rate = registrar_server::RateLimits { burst: 60, per_second: 1 };
    stand.start().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    let mut refused = None;
    for _ in 0..70 {
        let answer = agent.register(&stand).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, StatusCode::OK);
    }
    let refused = refused.unwrap();
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.reason(), "Too many requests from this network");
    // What operators do is not counted.
    assert_eq!(stand.admin(Method::GET, "/v2.6/agents/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn registrations_that_nobody_activates_are_bounded_and_expire() {
    let mut stand = Stand::without_registrar().await;
    stand.pending.network_bytes_max = 8_000;
    stand.pending.lifetime = std::time::Duration::from_millis(1_500);
    stand.start().await;
    let agents: Vec<Attester> = (0..10)
        .map(|number| Attester::certified(&format!("node-{number}"), KeyKind::P256, number, &stand.vendor))
        .collect();
    let mut first_proof = None;
    let mut refused = None;
    for agent in &agents {
        let answer = agent.register(&stand).await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            refused = Some(answer);
            break;
        }
        first_proof.get_or_insert_with(|| agent.solve(&answer));
    }
    assert!(refused.unwrap().headers.contains_key("retry-after"));
    let deadline = std::time::Instant::now() + crate::stand::SOON;
    while agents[9].register(&stand).await.status != StatusCode::OK {
        assert!(std::time::Instant::now() < deadline, "pending registrations do not expire");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let late = agents[0].activate(&stand, &first_proof.unwrap()).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
}
