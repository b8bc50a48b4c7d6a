//! Key shares, payloads and revocations, end to end.

use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;

use agent_daemon::Config;
use agent_protocol::tag::hmac_sha384;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use openssl::encrypt::Encrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::symm::{Cipher, encrypt_aead};
use serde_json::{Value, json};
use transport::ca::{KeyAlgorithm, Leaf};

use crate::rig::{Agent, Rig};

/// What a tenant makes of one key: both shares under NK, and the tag.
struct Shares {
    key: [u8; 32],
    u: Value,
    v: Value,
}

async fn shares(agent: &Agent, key: [u8; 32], payload: Option<&[u8]>) -> Shares {
    let nk = agent.results("/v2.6/keys/pubkey").await["pubkey"].as_str().unwrap().to_owned();
    let nk = PKey::public_key_from_pem(nk.as_bytes()).unwrap();
    let seal = |share: &[u8]| {
        let mut encrypter = Encrypter::new(&nk).unwrap();
        encrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
        let mut sealed = vec![0; encrypter.encrypt_len(share).unwrap()];
        let length = encrypter.encrypt(share, &mut sealed).unwrap();
        STANDARD.encode(&sealed[..length])
    };
    let v = [0x5a; 32];
    let u: Vec<u8> = key.iter().zip(v).map(|(k, v)| k ^ v).collect();
    let payload = payload.map(|plain| {
        let (iv, mut tag) = ([7; 16], [0; 16]);
        let sealed = encrypt_aead(Cipher::aes_256_gcm(), &key, Some(&iv), &[], plain, &mut tag).unwrap();
        STANDARD.encode([&iv[..], &sealed, &tag].concat())
    });
    let tag = hmac_sha384(&key, b"node-1").unwrap().to_hex();
    Shares {
        key,
        u: json!({"encrypted_key": seal(&u), "auth_tag": tag, "payload": payload}),
        v: json!({"encrypted_key": seal(&v)}),
    }
}

async fn proves(agent: &Agent, key: &[u8; 32]) -> bool {
    let (status, answer) = agent.get("/v2.6/keys/verify?challenge=abc").await;
    status == StatusCode::OK && answer["results"]["hmac"] == hmac_sha384(key, b"abc").unwrap().to_hex()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_there_once_both_shares_are_and_not_before() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let made = shares(&agent, [1; 32], Some(b"a secret")).await;
    assert!(!proves(&agent, &made.key).await);
    let (status, answer) = agent.post("/v2.6/keys/ukey", made.u.to_string()).await;
    assert_eq!((status, &answer["results"]), (StatusCode::OK, &Value::Null), "{answer}");
    let payload = rig.secure().join("unzipped/decrypted_payload");
    assert!(!payload.exists() && !proves(&agent, &made.key).await);
    assert_eq!(agent.post("/v2.6/keys/vkey", made.v.to_string()).await.0, StatusCode::OK);
    assert_eq!(std::fs::read(&payload).unwrap(), b"a secret");
    assert_eq!(std::fs::metadata(&payload).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(rig.secure().join("unzipped/derived_tci_key")).unwrap(), made.key);
    assert!(proves(&agent, &made.key).await);

    // A recorded U is refused, in this process and in the next, which still holds the key.
    let (status, answer) = agent.post("/v2.6/keys/ukey", made.u.to_string()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["status"].as_str().unwrap().contains("used before"), "{answer}");
    agent.stop().await;
    let agent = rig.start(rig.config()).await;
    assert!(proves(&agent, &made.key).await);
    assert_eq!(agent.post("/v2.6/keys/vkey", made.v.to_string()).await.0, StatusCode::OK);
    assert_eq!(agent.post("/v2.6/keys/ukey", made.u.to_string()).await.0, StatusCode::BAD_REQUEST);

    // A new key replaces it, whichever share comes first.
    let next = shares(&agent, [2; 32], Some(b"another")).await;
    assert_eq!(agent.post("/v2.6/keys/ukey", next.u.to_string()).await.0, StatusCode::OK);
    assert!(proves(&agent, &next.key).await);
    assert_eq!(std::fs::read(&payload).unwrap(), b"another");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_that_do_not_match_their_tag_make_nothing() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let mut made = shares(&agent, [1; 32], Some(b"a secret")).await;
    made.u["auth_tag"] = json!(hmac_sha384(&[9; 32], b"node-1").unwrap().to_hex());
    assert_eq!(agent.post("/v2.6/keys/ukey", made.u.to_string()).await.0, StatusCode::OK);
    assert_eq!(agent.post("/v2.6/keys/vkey", made.v.to_string()).await.0, StatusCode::OK);
    assert!(!proves(&agent, &made.key).await);
    assert_eq!(std::fs::read_dir(rig.secure()).unwrap().count(), 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_payload_is_not_written() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let mut made = shares(&agent, [1; 32], Some(b"a secret")).await;
    let mut sealed = STANDARD.decode(made.u["payload"].as_str().unwrap()).unwrap();
    sealed[20] ^= 1;
    made.u["payload"] = json!(STANDARD.encode(sealed));
    agent.post("/v2.6/keys/ukey", made.u.to_string()).await;
    assert_eq!(agent.post("/v2.6/keys/vkey", made.v.to_string()).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(std::fs::read_dir(rig.secure()).unwrap().count(), 0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_unpacked_its_script_not_run_by_default_and_its_certificate_checks_revocations() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let notifier = rig.authority.issue(&Leaf::server("notifier", &[], &[]), KeyAlgorithm::Rsa3072).unwrap();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("RevocationNotifier-cert.crt", options).unwrap();
    zip.write_all(&notifier.certificate().to_pem().unwrap()).unwrap();
    zip.start_file("autorun.sh", options).unwrap();
    zip.write_all(b"touch ran").unwrap();
    let zip = zip.finish().unwrap().into_inner();

    let msg = json!({"type": "revocation", "agent_id": "other"}).to_string();
    let mut signer = Signer::new(MessageDigest::sha256(), notifier.key()).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH).unwrap();
    signer.update(msg.as_bytes()).unwrap();
    let notice = json!({"msg": msg, "signature": STANDARD.encode(signer.sign_to_vec().unwrap())}).to_string();
    let forged = json!({"msg": msg.replace("other", "node-1"), "signature": ""}).to_string();

    let path = "/v2.6/notifications/revocation";
    assert_eq!(agent.post(path, notice.clone()).await.0, StatusCode::BAD_REQUEST, "no certificate yet");
    let made = shares(&agent, [1; 32], Some(&zip)).await;
    agent.post("/v2.6/keys/vkey", made.v.to_string()).await;
    assert_eq!(agent.post("/v2.6/keys/ukey", made.u.to_string()).await.0, StatusCode::OK);
    assert!(rig.secure().join("unzipped/autorun.sh").exists());
    assert!(!rig.secure().join("unzipped/ran").exists());
    assert_eq!(agent.post(path, notice).await.0, StatusCode::OK);
    assert_eq!(agent.post(path, forged).await.0, StatusCode::BAD_REQUEST);
    let kept = std::fs::read_dir(rig.config().data_folder.join("revocations")).unwrap().count();
    assert_eq!(kept, 1);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_configured_runs_with_an_empty_environment() {
    let rig = Rig::new().await;
    let config =
        Config { payload_script: Some("autorun.sh".to_owned()), danger_payload_script_as_root: true, ..rig.config() };
    let agent = rig.start(config).await;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("autorun.sh", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"echo \"home=$HOME\" > ran.new && mv ran.new ran").unwrap();
    let made = shares(&agent, [1; 32], Some(&zip.finish().unwrap().into_inner())).await;
    agent.post("/v2.6/keys/vkey", made.v.to_string()).await;
    agent.post("/v2.6/keys/ukey", made.u.to_string()).await;
    let ran = rig.secure().join("unzipped/ran");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !ran.exists() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(std::fs::read_to_string(ran).unwrap(), "home=\n");
    agent.stop().await;
}
