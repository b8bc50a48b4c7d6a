//! Export from the real ledger over mutual TLS, and what comes of it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use fixtures_softtpm::{Hash, KeyKind, SoftCa};
use fixtures_tsa::{Authority as Tsa, Certificate, Served};
use ledger_client::{LedgerClient, LedgerClientConfig};
use ledger_protocol::{
    NonceInputs,
    body::{Body, Enrol, ImaDelta, KeyRelease, PolicyBody, ReleasePhase, ServiceStart, Verdict, VerdictResult},
};
use ledger_server::{Config, HistoriesConfig, LogConfig, Running, StampingConfig};
use messages::{
    Digest,
    ledger::{Group, Item, Receipt},
};
use serde_bytes::ByteBuf;
use transport::{
    ca::{Authority, KeyAlgorithm, Leaf},
    router::Role,
    server::{Limits, Shutdown, ShutdownHandle},
    tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, ServerTls},
};

use crate::machine::{KEY_ID, MASK, Machine, quote_body};

/// A ledger at work, a machine in it, and an auditor's certificate.
pub(crate) struct Stand {
    address: SocketAddr,
    ca: SoftCa,
    pub(crate) client: LedgerClient,
    folder: tempfile::TempDir,
    machine: Machine,
    pub(crate) running: Running,
    stop: ShutdownHandle,
}

impl Stand {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With a census each second.
    async fn counting() -> Self {
        let (epoch, idle_checkpoint_interval) = (Duration::from_secs(1), Duration::from_secs(1));
        Self::with(|log| log.histories = Some(HistoriesConfig { epoch, idle_checkpoint_interval })).await
    }

    /// With a time-stamping authority, named `tsa`, that stamps every second.
    async fn stamped_by(stamping: StampingConfig) -> Self {
        Self::with(|log| log.stamping = Some(stamping)).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut LogConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (running, stop, client) = serve(folder.path(), configure).await;
        let ca = SoftCa::root("test manufacturer");
        let machine = Machine::new("node-1", KeyKind::P256, 0, &ca);
        Self { address: running.address(), ca, client, folder, machine, running, stop }
    }

    /// Stopped, and started again after `between`.
    pub(crate) async fn restarted(self, between: impl FnOnce(&Path), configure: impl FnOnce(&mut LogConfig)) -> Self {
        self.stop.start();
        self.running.wait().await.unwrap();
        between(self.folder.path());
        let (running, stop, client) = serve(self.folder.path(), configure).await;
        Self { address: running.address(), client, running, stop, ..self }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    async fn append(&self, items: Vec<Item>) -> Vec<Receipt> {
        let agent = Some(self.machine.agent.clone());
        let expected = Some(self.client.head(agent.as_ref()).await.unwrap());
        self.client.append(Group { agent, expected, items }).await.unwrap()
    }

    /// Entries of the fleet, so that tiles fill up.
    pub(crate) async fn noise(&self, count: usize) {
        let body = ServiceStart { service: "test".into(), build: "t".into(), instance: "i".into() };
        let items = vec![item(&body); count];
        self.client.append(Group { agent: None, expected: None, items }).await.unwrap();
    }

    pub(crate) async fn enrol(&mut self) {
        let binding = self.client.put_blob(self.machine.binding.encode()).await.unwrap();
        let slot = self.client.info().await.unwrap().next_slot;
        self.append(vec![item(&Enrol { slot, binding, ek_certificate: 0, registrar: "test".into() })]).await;
        let value = hex::encode(self.machine.tpm.read(Hash::Sha256, 15));
        let text = format!("{{\"15\": \"{value}\"}}");
        self.machine.policy = self.client.put_blob(text.into_bytes()).await.unwrap();
        let policy = self.machine.policy_body(self.machine.policy);
        self.append(vec![item(&PolicyBody::Agent(policy))]).await;
    }

    /// A round as the verifier makes it: quote and verdict in one group, the verdict linked to its quote.
    pub(crate) async fn round(&mut self, result: VerdictResult) -> Digest {
        let agent = self.machine.agent.clone();
        let head = self.client.head(Some(&agent)).await.unwrap();
        let beacon = self.client.beacon().await.unwrap();
        let salt = Digest(openssl::sha::sha256(&head.seq.to_be_bytes()));
        let nonce = NonceInputs { beacon, agent: &agent, head, salt }.derive();
        self.machine.tpm.advance(100);
        let quote = self.machine.tpm.quote(nonce.as_str().as_bytes(), Hash::Sha256, MASK);
        let delta = self.client.put_blob(format!("10 ima line {}\n", head.seq).into_bytes()).await.unwrap();
        let ima = ImaDelta { from: 0, count: 1, delta: Some(delta) };
        let quote = ledger_protocol::body::QuoteBody { ima, ..quote_body(beacon, salt, &quote) };
        let findings = Vec::new();
        let round = crate::machine::Round { quote, result, findings };
        let verdict = self.machine.verdict(Digest::ZERO, &round);
        let receipts = self.append(vec![item(&round.quote), linked(&verdict)]).await;
        receipts[1].leaf_hash
    }

    async fn release(&self, phase: ReleasePhase, verdict: Digest) {
        let (recipient, reason) = (self.machine.recipient, "test".to_owned());
        self.append(vec![item(&KeyRelease { phase, verdict, key_id: KEY_ID, recipient, reason })]).await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn roots(&self) -> String {
        let path = self.path("root.pem");
        fs::write(&path, self.ca.pem()).unwrap();
        path.display().to_string()
    }

    /// Runs the command beside the server.
    pub(crate) async fn audit(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-audit"));
        command.args(arguments).env_remove("ATTESTRY_LEDGER_URL").env_remove("ATTESTRY_TLS_DIR");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn export(&self, bundle: &str, more: &[&str]) -> Output {
        let (url, tls) = (format!("https://{}", self.address), self.path("tls").display().to_string());
        let output = self.path(bundle).display().to_string();
        let arguments = ["export", "--agent", "node-1", "-o", &output, "--url", &url, "--tls-dir", &tls];
        self.audit(&[&arguments[..], more].concat()).await
    }

    /// Verifies a bundle; its exit code and report.
    async fn verify(&self, bundle: &str, more: &[&str]) -> (i32, serde_json::Value) {
        let (bundle, vkey, roots) = (self.path(bundle).display().to_string(), self.running.vkey(), self.roots());
        let arguments = ["verify", &bundle, "--log-key", vkey, "--roots", &roots, "--json"];
        let output = self.audit(&[&arguments[..], more].concat()).await;
        (code(&output), serde_json::from_slice(&output.stdout).unwrap())
    }

    pub(crate) async fn stop(self) {
        self.stop.start();
        self.running.wait().await.unwrap();
    }
}

/// A ledger in a folder, with an authority and an auditor's certificate beside it.
async fn serve(folder: &Path, configure: impl FnOnce(&mut LogConfig)) -> (Running, ShutdownHandle, LedgerClient) {
    let tls = folder.join("tls");
    let authority = Authority::open_or_create(&tls, "Test Authority", KeyAlgorithm::EcP256).unwrap();
    let auditor = Leaf::client("auditor", Role::Auditor);
    authority.open_or_issue(&tls, "auditor", &auditor, KeyAlgorithm::EcP256).unwrap();
    let server = authority.issue(&Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256).unwrap();
    let service = authority.issue(&Leaf::client("verifier", Role::Service), KeyAlgorithm::EcP256).unwrap();
    let certificate = authority.certificate().to_owned();
    let (stop, shutdown) = Shutdown::new();
    let mut log = LogConfig::new(folder.join("ledger"));
    configure(&mut log);
    let config = Config {
        address: "127.0.0.1:0".parse().unwrap(),
        limits: Limits::default(),
        log,
        public_read: false,
        tls: ServerTls::new(&server, &ClientAuth::Optional(vec![certificate.clone()])).unwrap(),
    };
    let running = ledger_server::start(config, shutdown).await.unwrap();
    let address = running.address();
    let tls =
        ClientTlsConfig { authorities: vec![certificate], host_names: HostNames::Checked, identity: Some(service) };
    let tls = ClientTls::new(&tls).unwrap();
    let client = LedgerClient::new(LedgerClientConfig::new(format!("https://{address}"), tls));
    (running, stop, client)
}

fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

/// The verdict whose quote is the group's previous item.
fn linked(verdict: &Verdict) -> Item {
    let encoded = verdict.encode();
    let after = ByteBuf::from(&encoded[1 + 34..]);
    Item { kind: Verdict::KIND.number(), body: ByteBuf::from(&encoded[..1]), after: Some(after) }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_own_stamps_are_exported_and_bound_the_time() {
    let authority = Arc::new(Tsa::new(&Certificate::default()));
    let served = Served::new(Arc::clone(&authority));
    let pem = tempfile::NamedTempFile::new().unwrap();
    fs::write(pem.path(), authority.read("ca.pem")).unwrap();
    let tsa = vec![format!("tsa={}", served.url()).parse().unwrap()];
    let (second, month) = (Duration::from_secs(1), Duration::from_secs(10 * 24 * 60 * 60));
    let stamping = StampingConfig::load(tsa, pem.path(), None, second, month).unwrap();
    let mut stand = Stand::stamped_by(stamping).await;
    stand.enrol().await;
    stand.round(VerdictResult::Pass).await;
    let roots = pem.path().display().to_string();
    let deadline = Instant::now() + Duration::from_secs(30);
    for number in 0.. {
        let bundle = format!("bundle-{number}");
        let output = stand.export(&bundle, &[]).await;
        assert_eq!(code(&output), 0, "{}", errors(&output));
        let (code_, report) = stand.verify(&bundle, &["--tsa-ca", &roots]).await;
        if code_ == 0 {
            assert!(report["statement"]["stamped"]["all_before"].is_string(), "{report:#}");
            assert_eq!(report["statement"]["stamped"]["stamps"][0]["authority"], "test tsa");
            // Without roots the same bundle is as good, and proves no time.
            let (code_, report) = stand.verify(&bundle, &[]).await;
            assert_eq!((code_, &report["statement"]["stamped"]), (0, &serde_json::Value::Null));
            break;
        }
        assert_eq!(code_, 3, "a bundle without a stamp is not fully checked: {report:#}");
        assert!(Instant::now() < deadline, "a stamp comes");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_exports_is_verified() {
    let mut stand = Stand::new().await;
    stand.noise(300).await;
    stand.enrol().await;
    let verdict = stand.round(VerdictResult::Pass).await;
    stand.release(ReleasePhase::Authorised, verdict).await;
    stand.noise(300).await;
    stand.release(ReleasePhase::Delivered, verdict).await;
    for _ in 0..3 {
        stand.round(VerdictResult::Pass).await;
        stand.noise(7).await;
    }
    stand.machine.tpm.measure(15, b"something unexpected");
    stand.round(VerdictResult::Fail).await;
    let vkey = stand.running.vkey().to_owned();
    let output = stand.export("bundle", &["--log-key", &vkey]).await;
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let (code_, report) = stand.verify("bundle", &["--agent", "node-1"]).await;
    assert_eq!(code_, 0, "{report:#}");
    assert_eq!(report["entries"], 14);
    assert_eq!(report["statement"]["counts"]["passed"], 4);
    assert_eq!(report["statement"]["counts"]["failed"], 1);
    assert_eq!(report["statement"]["counts"]["keys_delivered"], 1);
    let folder = stand.path("bundle");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o755);
    let blobs = fs::read_dir(folder.join("blobs")).unwrap().count();
    assert_eq!(blobs, 7, "a binding, a policy and an IMA delta for each quote");
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_is_exported_with_what_it_rests_on() {
    let mut stand = Stand::new().await;
    stand.enrol().await;
    for _ in 0..2 {
        stand.round(VerdictResult::Pass).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let verdict = stand.round(VerdictResult::Pass).await;
    stand.release(ReleasePhase::Authorised, verdict).await;
    stand.round(VerdictResult::Pass).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut last_round = stand.client.entries(Some(&stand.machine.agent), 0, 100).await.unwrap().entries;
    let from = ledger_protocol::Entry::decode(&last_round.pop().unwrap().1).unwrap().recorded;
    let from = from.plus_ms(1);
    stand.release(ReleasePhase::Delivered, verdict).await;
    stand.round(VerdictResult::Pass).await;
    stand.round(VerdictResult::Pass).await;
    let from = chrono_text(from.0);
    let output = stand.export("later", &["--from", &from]).await;
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let (code_, report) = stand.verify("later", &[]).await;
    assert_eq!(code_, 0, "{report:#}");
    // Enrolment and policy; then from the quote on which the delivered key was authorised.
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(stand.path("later/manifest.json")).unwrap()).unwrap();
    let seqs: Vec<u64> = manifest["entries"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [0, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert!(report["not_proven"].to_string().contains("seq 2 to 5"), "{report:#}");
    // The bundle does not answer for the time before it.
    let (code_, _) = stand.verify("later", &["--from", "2020-01-01T00:00:00Z"]).await;
    assert_eq!(code_, 3);
    // An interval in which nothing happened is answered by what was before it.
    let output = stand.export("future", &["--from", "2100-01-01T00:00:00Z"]).await;
    assert_eq!(code(&output), 0, "{}", errors(&output));
    let (code_, report) = stand.verify("future", &[]).await;
    assert_eq!(code_, 0, "{report:#}");
    stand.stop().await;
}

fn chrono_text(ms: u64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(i64::try_from(ms).unwrap()).unwrap();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_leaves_nothing_and_says_why() {
    let mut stand = Stand::new().await;
    stand.enrol().await;
    let output = stand
        .audit(&[
            "export",
            "--agent",
            "node-2",
            "-o",
            &stand.path("a").display().to_string(),
            "--url",
            &format!("https://{}", stand.address),
            "--tls-dir",
            &stand.path("tls").display().to_string(),
        ])
        .await;
    assert_eq!(code(&output), 3);
    assert!(errors(&output).contains("no entries of agent node-2"), "{}", errors(&output));
    let other = crate::log::Log::new(9).vkey();
    let output = stand.export("a", &["--log-key", &other]).await;
    assert_eq!(code(&output), 3);
    assert!(errors(&output).contains("not signed by the key"), "{}", errors(&output));
    fs::create_dir(stand.path("taken")).unwrap();
    let output = stand.export("taken", &[]).await;
    assert_eq!(code(&output), 2);
    assert!(errors(&output).contains("exists already"), "{}", errors(&output));
    let key = stand.path("tls/auditor-private.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = stand.export("a", &[]).await;
    assert_eq!(code(&output), 2);
    assert!(errors(&output).contains("chmod 600"), "{}", errors(&output));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    // A server of another authority is not asked.
    let authority = fs::read(stand.path("tls/cacert.crt")).unwrap();
    let elsewhere = Authority::open_or_create(&stand.path("other"), "Other", KeyAlgorithm::EcP256).unwrap();
    fs::write(stand.path("tls/cacert.crt"), elsewhere.certificate().to_pem().unwrap()).unwrap();
    let output = stand.export("a", &[]).await;
    assert_eq!(code(&output), 3);
    assert!(errors(&output).contains("did not answer"), "{}", errors(&output));
    fs::write(stand.path("tls/cacert.crt"), authority).unwrap();
    let names = |stand: &Stand| fs::read_dir(stand.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let left: Vec<std::ffi::OsString> = names(&stand);
    assert!(left.iter().all(|name| name != "a" && !name.to_string_lossy().starts_with('.')), "{left:?}");
    stand.stop.start();
    stand.running.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_proofs_are_verified_to_the_last_quote_and_its_log_is_replayed_and_followed() {
    let mut stand = Stand::counting().await;
    stand.enrol().await;
    for _ in 0..3 {
        stand.round(VerdictResult::Pass).await;
    }
    let (vkey, roots) = (stand.running.vkey().to_owned(), stand.roots());
    let (url, tls) = (format!("https://{}", stand.address), stand.path("tls").display().to_string());
    let deadline = Instant::now() + Duration::from_secs(30);
    for number in 0.. {
        let file = stand.path(&format!("node-1-{number}.interval")).display().to_string();
        let asked = ["prove", "--agent", "node-1", "--from", "-1h", "--to", "now", "--full", "-o", &file];
        let made = stand.audit(&[&asked[..], &["--ledger", &url, "--tls-dir", &tls]].concat()).await;
        if code(&made) == 0 {
            let asked =
                ["verify", &file, "--log-key", &vkey, "--agent", "node-1", "--full", "--roots", &roots, "--json"];
            let verified = stand.audit(&asked).await;
            let report: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
            if report["statement"]["interval"]["quotes"] == 3 {
                assert_eq!(code(&verified), 0, "{report:#}");
                assert_eq!(report["checks"].as_array().unwrap().len(), 6);
                assert_eq!(report["checks"][2]["examined"], 3, "each signature was checked: {report:#}");
                // Without the blobs there is no key to check with; with another's policy nothing is believed.
                fs::remove_dir_all(format!("{file}.blobs")).unwrap();
                assert_eq!(code(&stand.audit(&asked).await), 3);
                break;
            }
        }
        assert!(Instant::now() < deadline, "a census comes: {}", errors(&made));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let file = stand.path("all.fleet").display().to_string();
    let asked = ["prove", "--fleet", "--label", "role=hypervisor", "--from", "-1h", "--to", "now", "-o", &file];
    let made = stand.audit(&[&asked[..], &["--ledger", &url, "--tls-dir", &tls]].concat()).await;
    assert_eq!(code(&made), 0, "{}", errors(&made));
    assert_eq!(code(&stand.audit(&["verify", &file, "--log-key", &vkey]).await), 0);

    let replayed = stand.audit(&["replay", &url, "--tls-dir", &tls, "--log-key", &vkey, "--roots", &roots]).await;
    assert_eq!(code(&replayed), 0, "{}{}", String::from_utf8_lossy(&replayed.stdout), errors(&replayed));
    let mirror = stand.path("mirror").display().to_string();
    let common = ["monitor", "--ledger", &url, "--tls-dir", &tls, "--mirror", &mirror, "--log-key", &vkey];
    let watch = [&common[..], &["--roots", &roots, "--once"]].concat();
    for _ in 0..2 {
        let watched = stand.audit(&watch).await;
        assert_eq!(code(&watched), 0, "{}{}", String::from_utf8_lossy(&watched.stdout), errors(&watched));
        stand.round(VerdictResult::Pass).await;
    }
    // A verifier that passes what it should not: sequenced and signed, and told by whoever judges again.
    stand.machine.tpm.measure(15, b"something unexpected");
    stand.round(VerdictResult::Pass).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let watched = stand.audit(&watch).await;
        if code(&watched) == 1 {
            let alarms = String::from_utf8_lossy(&watched.stdout).into_owned();
            assert!(alarms.contains("\"check\":\"appraisal\"") && alarms.lines().count() == 1, "{alarms}");
            break;
        }
        assert!(Instant::now() < deadline, "{}", errors(&watched));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let data = stand.path("ledger").display().to_string();
    let folder = stand.path("alone.interval").display().to_string();
    stand.stop.start();
    stand.running.wait().await.unwrap();
    let audit = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_attestry-audit"))
            .args(arguments)
            .env_remove("ATTESTRY_LEDGER_URL")
            .output()
            .unwrap()
    };
    let made = audit(&["prove", "--agent", "node-1", "--from", "-1h", "--to", "now", "-o", &folder, "--log", &data]);
    assert_eq!(code(&made), 0, "{}", errors(&made));
    assert_eq!(code(&audit(&["verify", &folder, "--log-key", &vkey])), 0);
    for place in [&data, &mirror] {
        let replayed = audit(&["replay", place, "--log-key", &vkey, "--roots", &roots]);
        let text = String::from_utf8_lossy(&replayed.stdout).into_owned();
        assert!(code(&replayed) == 1 && text.starts_with("FALSE: appraisal: node-1: "), "{text}{}", errors(&replayed));
    }
}
