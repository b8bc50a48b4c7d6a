#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use fixtures_softtpm::{KeyKind, SoftTpm, generate};
use serde_json::{Value, json};

use super::*;

fn body() -> Value {
    let pem = transport::ca::self_sign("node-1", &[]).unwrap().certificate().to_pem().unwrap();
    json!({
        "v": STANDARD.encode([7; 32]),
        "cloudagent_ip": "127.0.0.1",
        "cloudagent_port": 9002,
        "verifier_ip": "127.0.0.1",
        "verifier_port": "8881",
        "tpm_policy": "{\"mask\": \"0xffff\"}",
        "runtime_policy": "",
        "runtime_policy_name": "",
        "runtime_policy_key": "",
        "mb_policy": null,
        "mb_policy_name": "",
        "ima_sign_verification_keys": "",
        "metadata": "{}",
        "revocation_key": "",
        "accept_tpm_hash_algs": ["sha512", "sha384", "sha256"],
        "accept_tpm_encryption_algs": ["ecc", "rsa"],
        "accept_tpm_signing_algs": ["ecschnorr", "rsassa"],
        "ak_tpm": STANDARD.encode(SoftTpm::new(KeyKind::P256, 0).ak.tpm2b_public()),
        "mtls_cert": String::from_utf8(pem).unwrap(),
        "supported_version": "2.6",
    })
}

fn with(member: &str, value: Value) -> Value {
    let mut body = body();
    body.as_object_mut().unwrap().insert(member.to_owned(), value);
    body
}

fn parse(body: &Value) -> Result<Application, TermsError> {
    Application::parse(body.to_string().as_bytes(), &Polling::default(), false)
}

#[track_caller]
fn refusal(body: &Value) -> TermsError {
    match parse(body) {
        Ok(_) => panic!("accepted {body}"),
        Err(error) => error,
    }
}

#[test]
fn a_stock_tenants_body_is_taken_with_keylimes_defaults() {
    let application = parse(&body()).unwrap();
    let terms = application.terms;
    assert_eq!((terms.host.as_str(), terms.port, terms.verifier_port), ("127.0.0.1", 9002, Some(8881)));
    assert_eq!((terms.interval_ms, terms.tolerance_ms), (2_000, 8_000));
    assert_eq!(application.share_v.unwrap().as_slice(), [7; 32]);
    assert!(application.revocation_key.is_none());
    assert_eq!(terms.base_url("2.6"), "https://127.0.0.1:9002/v2.6");
}

#[test]
fn our_additions_are_taken() {
    let extension = json!({"labels": {"role": "hypervisor"}, "interval_ms": 50, "tolerance_ms": 70});
    let terms = parse(&with("attestry", extension)).unwrap().terms;
    assert_eq!((terms.interval_ms, terms.tolerance_ms), (50, 70));
    let policy = terms.policy_entry(Digest([1; 32]));
    assert_eq!(policy.labels, [Label { name: "role".into(), value: "hypervisor".into() }]);
    assert_eq!(policy.binding, Digest([1; 32]));
}

#[test]
fn layers_and_a_keyring_are_wished_for_and_wrong_ones_are_refused() {
    let key = STANDARD.encode(generate(KeyKind::P256).public_key_to_der().unwrap());
    let keyring = json!({"meta": {"version": 1}, "keyids": [], "pubkeys": [key]}).to_string();
    let wishes = parse(&with("ima_sign_verification_keys", json!(keyring))).unwrap().wishes;
    assert_eq!(wishes.runtime.keys.as_deref(), Some(keyring.as_bytes()));
    assert!(parse(&body()).unwrap().wishes.runtime.keys.is_none());
    for bad in ["[]", "{}", r#"{"pubkeys": ["AAAA"]}"#, r#"{"pubkeys": ["!"]}"#] {
        let error = refusal(&with("ima_sign_verification_keys", json!(bad)));
        assert!(matches!(error, TermsError::Policy(DocumentError::Keyring(_))), "{bad}: {error:?}");
    }
    let layers = |names: &[&str]| {
        let layers: Vec<Value> = names.iter().map(|name| json!({"layer": name, "policy": "p"})).collect();
        with("attestry", json!({"runtime_layers": layers}))
    };
    assert_eq!(parse(&layers(&["base", "site-1"])).unwrap().wishes.runtime.layers.len(), 2);
    for bad in [["base", "base"], ["node", "x"], ["runtime", "x"], ["", "x"], ["Base", "x"]] {
        let error = refusal(&layers(&bad));
        assert!(matches!(error, TermsError::Policy(DocumentError::Layer(_))), "{bad:?}: {error:?}");
    }
    let many: Vec<String> = (0..16).map(|number| format!("l{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(refusal(&layers(&many)), TermsError::Policy(DocumentError::Layers { found: 16 })));
}

#[test]
fn policies_and_names_are_wished_for_only_where_they_are_given() {
    let wishes = parse(&body()).unwrap().wishes;
    assert!(wishes.runtime.document.is_none() && wishes.runtime.name.is_none());
    assert!(wishes.measured_boot.document.is_none() && wishes.measured_boot.name.is_none());
    let none = parse(&with("mb_policy", json!("{}"))).unwrap().wishes;
    assert!(none.measured_boot.document.is_none(), "a tenant's word for none");
    let wishes = parse(&with("runtime_policy", json!("e30="))).unwrap().wishes;
    assert!(wishes.runtime.document.is_some(), "whether it is a policy shows when it is compiled");
    let wishes = parse(&with("mb_policy_name", json!("base"))).unwrap().wishes;
    assert_eq!(wishes.measured_boot.name.as_deref(), Some("base"));
    assert!(matches!(refusal(&with("runtime_policy", json!("!"))), TermsError::Policy(_)));
    assert!(matches!(refusal(&with("runtime_policy_name", json!("a/b"))), TermsError::Policy(_)));
}

#[test]
fn an_agent_without_tls_is_refused_unless_the_danger_is_taken() {
    for value in [json!("disabled"), json!(null), json!("")] {
        let body = with("mtls_cert", value);
        assert!(matches!(refusal(&body), TermsError::MtlsDisabled));
        let plain = Application::parse(body.to_string().as_bytes(), &Polling::default(), true).unwrap();
        assert_eq!(plain.terms.base_url("2"), "http://127.0.0.1:9002/v2");
    }
    assert!(matches!(refusal(&with("mtls_cert", json!("no pem"))), TermsError::MtlsMalformed));
}

#[test]
fn each_broken_member_is_refused() {
    let refused = |member, value| refusal(&with(member, value)).to_string();
    assert!(refused("ak_tpm", json!("!")).contains("base64"));
    assert!(refused("ak_tpm", json!("AAAA")).contains("TPM2B_PUBLIC"));
    assert!(refused("v", json!("c2hvcnQ=")).contains("16 or 32 bytes"));
    assert!(refused("cloudagent_ip", json!("host/path")).contains("host name"));
    assert!(refused("cloudagent_ip", json!("user@host")).contains("host name"));
    assert!(refused("cloudagent_ip", json!(null)).contains("missing"));
    assert!(refused("cloudagent_port", json!(null)).contains("missing"));
    assert!(refused("tpm_policy", json!("{'mask': '0x1'}")).contains("tpm_policy"));
    assert!(refused("metadata", json!("{")).contains("metadata"));
    assert!(refused("accept_tpm_hash_algs", json!(["sha1"])).contains("accept_tpm_hash_algs"));
    assert!(refused("revocation_key", json!("-----BEGIN")).contains("revocation_key"));
    assert!(refused("attestry", json!({"interval_ms": 86_400_001})).contains("interval_ms"));
    assert!(refused("attestry", json!({"unknown": 1})).contains("unknown field"));
    assert!(refused("attestry", json!({"labels": 1})).contains("malformed"));
}

#[test]
fn a_revocation_key_must_be_rsa() {
    let pem =
        |key: PKey<openssl::pkey::Private>| json!(String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap());
    let rsa = parse(&with("revocation_key", pem(fixtures_softtpm::shared(KeyKind::RSA_2048, 0)))).unwrap();
    assert!(rsa.revocation_key.is_some());
    assert!(matches!(refusal(&with("revocation_key", pem(generate(KeyKind::P256)))), TermsError::RevocationKey));
    // Too small for the signature that a notice needs.
    let small = openssl::rsa::Rsa::generate(512).and_then(PKey::from_rsa).unwrap();
    assert!(matches!(refusal(&with("revocation_key", pem(small))), TermsError::RevocationKey));
}

#[test]
fn mandatory_members_are_named_and_values_are_not_repeated() {
    let mut body = body();
    body.as_object_mut().unwrap().remove("tpm_policy");
    assert!(refusal(&body).to_string().contains("missing field `tpm_policy`"));
    let error = refusal(&with("v", json!(["topsecret"]))).to_string();
    assert!(!error.contains("topsecret"), "{error}");
    for text in ["", "[]", "{", "null"] {
        assert!(Application::parse(text.as_bytes(), &Polling::default(), false).is_err());
    }
}

#[test]
fn unknown_versions_become_the_current_one() {
    for (wanted, used) in [(json!("2.1"), "2.1"), (json!("9.9"), "2.6"), (json!(null), "2.6")] {
        assert_eq!(parse(&with("supported_version", wanted)).unwrap().terms.api_version, used);
    }
}

#[test]
fn ipv6_addresses_are_bracketed() {
    let terms = parse(&with("cloudagent_ip", json!("::1"))).unwrap().terms;
    assert_eq!(terms.base_url("2.6"), "https://[::1]:9002/v2.6");
}
