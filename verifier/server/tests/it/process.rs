//! The real binary: its usage, and kill -9 in the middle.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use messages::keylime::AttestationStatus;
use transport::{
    ca::{KeyAlgorithm, Leaf},
    router::Role,
};

use crate::{
    attester::{Manner, SHARE},
    chain,
    stand::{DEADLINE, Stand, until},
};

const BINARY: &str = env!("CARGO_BIN_EXE_attestry-verifier");

/// A verifier process that dies with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(stand: &Stand, address: SocketAddr) -> Command {
    let folder = stand.path();
    let mut command = Command::new(BINARY);
    command
        .args(["--data".as_ref(), folder.join("verifier").as_os_str()])
        .args(["--tls-dir".as_ref(), folder.join("tls").as_os_str()])
        .args(["--ledger", &stand.ledger_url(), "--listen", &address.to_string()])
        .args(["--request-timeout-ms", "400", "--retry-base-ms", "50", "--log-format", "json"])
        .stderr(Stdio::null());
    command
}

fn issue(stand: &Stand) {
    let folder = stand.path().join("tls");
    let authority = stand.authority();
    let leaf = Leaf::server("verifier", &[], &[]);
    authority.open_or_issue(&folder, "server", &leaf, KeyAlgorithm::EcP256).unwrap();
    let leaf = Leaf::client("verifier", Role::Service);
    authority.open_or_issue(&folder, "verifier", &leaf, KeyAlgorithm::EcP256).unwrap();
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn started(stand: &Stand, address: SocketAddr) -> Process {
    let process = Process(command(stand, address).spawn().unwrap());
    listening(address).await;
    process
}

async fn listening(address: SocketAddr) {
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < DEADLINE, "the verifier does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_loses_no_agent_and_invents_no_trust() {
    let mut stand = Stand::without_verifier(None).await;
    issue(&stand);
    let address = free_address();
    stand.at_address(address);
    let mut process = started(&stand, address).await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    for _ in 0..3 {
        let asked = attester.asked();
        until("rounds go on", || attester.asked() > asked + 2).await;
        drop(process);
        attester.set(Manner::Mute);
        process = started(&stand, address).await;
        let status = stand.status(&attester.id).await.unwrap();
        assert_ne!(status.attestation_status, AttestationStatus::Pass, "{status:?}");
        attester.set(Manner::Honest);
        stand.until_passed(&attester.id).await;
    }
    drop(process);
    attester.measure(15);
    let _process = started(&stand, address).await;
    stand.until_failed(&attester.id).await;
    let entries = stand.until_logged(&attester.id, "revoked").await;
    assert_eq!(chain::count(&entries, "authorised"), 1, "the same payload key needs no second share");
    for (number, (entry, _)) in entries.iter().enumerate() {
        assert_eq!(entry.seq, number as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_is_in_no_log_no_record_and_no_entry() {
    let mut stand = Stand::without_verifier(None).await;
    issue(&stand);
    let address = free_address();
    stand.at_address(address);
    let log = std::fs::File::create(stand.path().join("verifier.log")).unwrap();
    let mut verifier = command(&stand, address);
    let process = Process(verifier.env("RUST_LOG", "trace").stderr(log).spawn().unwrap());
    listening(address).await;
    let attester = stand.attester("node-1").await;
    stand.until_logged(&attester.id, "delivered").await;
    attester.measure(15);
    stand.until_failed(&attester.id).await;
    let malformed = serde_json::to_string(&attester.add()).unwrap().replace("\"tpm_policy\"", "\"tpm\"");
    stand.ask(http::Method::PUT, "/v2.6/agents/node-1", Some(malformed)).await;
    drop(process);
    // Base64 of the share begins anew at each third byte, as that of anything before it does.
    let forms = [SHARE.to_vec(), crate::stand::base64(&SHARE).into_bytes(), hex::encode(SHARE).into_bytes()];
    let mut seen = 0;
    let mut folders = vec![stand.path()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            seen += bytes.len();
            for form in &forms {
                let part = &form[..24];
                assert!(!bytes.windows(part.len()).any(|window| window == part), "{}", path.display());
            }
        }
    }
    assert!(seen > 10_000, "log, records and entries were looked through");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_memory_is_never_dumped_and_its_folder_is_its_owners() {
    let stand = Stand::without_verifier(None).await;
    issue(&stand);
    let process = started(&stand, free_address()).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let mode = std::fs::metadata(stand.path().join("verifier")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_others_can_read_stops_the_start() {
    let stand = Stand::without_verifier(None).await;
    issue(&stand);
    let key = stand.path().join("tls/server-private.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = command(&stand, free_address()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"), "{output:?}");
}

#[test]
fn wrong_usage_and_help_have_their_exit_codes() {
    let output = Command::new(BINARY).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let help = Command::new(BINARY).arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"));
}
