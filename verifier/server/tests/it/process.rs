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
    attester::Manner,
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
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < DEADLINE, "the verifier does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process
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
