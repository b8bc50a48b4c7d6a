//! Every status of tlog-witness, over a socket.

use http::{Method, StatusCode};
use ledger_tlog::key::KeyName;
use ledger_tlog::signer::NoteSigner;
use ledger_witness::Witness;
use ledger_witness::logs::Logs;
use ledger_witness::service::{self, Config};
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::client::{Client, Outgoing};
use transport::server::Shutdown;
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, ServerTls};

use crate::rig::{Log, ORIGIN, Rig, client, content_type, open, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_log_is_cosigned_and_its_latest_checkpoint_shown() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let witness = rig.spawn();
    assert_eq!(witness.latest(ORIGIN).await.status, StatusCode::NOT_FOUND);
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut old = 0;
    for new in [1, 2, 2, 7, 8, 100, 255] {
        let opened = log.opened(new, &witness.ask(log.request(old, new)).await, &rig.vkey);
        let time = opened.cosignatures().next().unwrap().time.0;
        assert!((before..before + 60).contains(&time), "{time} is the witness's own clock");
        let latest = witness.latest(ORIGIN).await;
        assert_eq!(open(&text(&latest), &rig.vkey).tree_head(), opened.tree_head());
        old = new;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_status_and_changes_nothing() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let witness = rig.spawn();
    log.opened(5, &witness.ask(log.request(0, 5)).await, &rig.vkey);
    let other = NoteSigner::from_seed(KeyName::new(ORIGIN).unwrap(), &[7; 32]).unwrap();
    let by_other = Log { signer: other, ..Log::new("a") };
    let unknown = log.request(5, 6).replace(ORIGIN, "log.test/two");
    let empty_root = {
        let root = ledger_tlog::hash::leaf_hash(b"").to_base64();
        let mut note = ledger_tlog::note::Note::new(format!("{ORIGIN}\n0\n{root}\n")).unwrap();
        note.sign(&log.signer).unwrap();
        format!("old 0\n\n{note}")
    };
    let proof_from_nothing = log.request(5, 6).replace("old 5\n", "old 0\n");
    let cases = [
        ("no request", "hello".to_owned(), StatusCode::BAD_REQUEST),
        ("old beyond new", log.request(5, 4), StatusCode::BAD_REQUEST),
        ("an unknown origin", unknown, StatusCode::NOT_FOUND),
        ("another key", by_other.request(5, 6), StatusCode::FORBIDDEN),
        ("a forged signature", forged(&log.request(5, 6)), StatusCode::FORBIDDEN),
        ("a stale old size", log.request(4, 6), StatusCode::CONFLICT),
        ("a proof although old is 0", proof_from_nothing, StatusCode::CONFLICT),
        ("a second history", Log::new("b").request(5, 6), StatusCode::UNPROCESSABLE_ENTITY),
        ("another root of one size", Log::new("b").request(5, 5), StatusCode::UNPROCESSABLE_ENTITY),
        ("a false empty tree", empty_root, StatusCode::UNPROCESSABLE_ENTITY),
        ("a body too long", format!("{}{}", log.request(5, 6), "x".repeat(200_000)), StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (what, body, expected) in cases {
        let answer = witness.ask(body).await;
        assert_eq!(answer.status, expected, "{what}: {}", text(&answer));
        if expected == StatusCode::CONFLICT {
            assert_eq!((content_type(&answer), text(&answer).as_str()), ("text/x.tlog.size", "5\n"));
        }
    }
    let proofs = witness.ask(log.request(0, 6)).await;
    assert_eq!((proofs.status, text(&proofs).as_str()), (StatusCode::CONFLICT, "5\n"));
    log.opened(6, &witness.ask(log.request(5, 6)).await, &rig.vkey);
}

/// The same request with one bit of its signature changed.
fn forged(request: &str) -> String {
    let (rest, signature) = request.trim_end().rsplit_once(' ').unwrap();
    let changed =
        if signature.contains("A") { signature.replacen('A', "B", 1) } else { signature.replacen('B', "A", 1) };
    // The key's ID comes first; a change there makes the key unknown, which is 403 as well.
    format!("{rest} {changed}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_from_nothing_is_unprocessable() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let witness = rig.spawn();
    let body = log.request(5, 6).replace("old 5\n", "old 0\n");
    assert_eq!(witness.ask(body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(witness.latest(ORIGIN).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_keys_of_one_log_either_may_sign() {
    let (mut rig, log) = (Rig::new(), Log::new("a"));
    let second = NoteSigner::from_seed(KeyName::new("log.test/key-2").unwrap(), &[8; 32]).unwrap();
    rig.logs.push(format!("{} {ORIGIN}", second.verifier()));
    let witness = rig.spawn();
    log.opened(5, &witness.ask(log.request(0, 5)).await, &rig.vkey);
    let by_second = Log { signer: second, ..Log::new("a") };
    assert_eq!(witness.ask(by_second.request(5, 6)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths_are_not_answered() {
    let rig = Rig::new();
    let witness = rig.spawn();
    let client = client();
    let ask = |method, path: &str| client.request(Outgoing::new(method, format!("{}{path}", witness.url)));
    assert_eq!(ask(Method::GET, "/add-checkpoint").await.unwrap().status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask(Method::GET, "/../checkpoint").await.unwrap().status.as_u16() / 100, 4);
    assert_eq!(ask(Method::GET, "/witness.key/checkpoint").await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(ask(Method::GET, "/healthz").await.unwrap().status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_witness_shows_its_certificate_and_asks_for_none() {
    let (rig, log) = (Rig::new(), Log::new("a"));
    let tls = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(tls.path(), "test", KeyAlgorithm::EcP256).unwrap();
    let leaf = Leaf::server("witness", &[], &[[127, 0, 0, 1].into()]);
    let identity = authority.open_or_issue(tls.path(), "w", &leaf, KeyAlgorithm::EcP256).unwrap();
    let mut logs = Logs::default();
    logs.add(&log.signer.verifier().to_string()).unwrap();
    let witness = Witness::open(&rig.data(), ledger_witness::identity::load(&rig.data()).unwrap(), logs).unwrap();
    let (stop, shutdown) = Shutdown::new();
    let config = Config {
        address: ([127, 0, 0, 1], 0).into(),
        limits: service::limits(),
        prefix: String::new(),
        tls: Some(ServerTls::new(&identity, &ClientAuth::None).unwrap()),
        witness,
    };
    let running = service::start(config, shutdown).await.unwrap();
    let ask = |scheme: &str, tls: &ClientTlsConfig| {
        let url = format!("{scheme}://{}/add-checkpoint", running.address());
        let outgoing = Outgoing::new(Method::POST, url).with_body("text/plain", log.request(0, 3));
        let client = Client::new(ClientTls::new(tls).unwrap());
        async move { client.request(outgoing).await }
    };
    let mut tls = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
    ask("https", &tls).await.unwrap_err();
    ask("http", &tls).await.unwrap_err();
    tls.authorities.push(authority.certificate().to_owned());
    log.opened(3, &ask("https", &tls).await.unwrap(), &rig.vkey);
    stop.start();
    running.wait().await.unwrap();
}
