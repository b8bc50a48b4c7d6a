//! The binary: its arguments, its signals, its end by kill -9.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fixtures_softtpm::KeyKind;
use http::{Method, StatusCode};
use serde_json::Value;
use transport::ca::{KeyAlgorithm, Leaf};
use transport::router::Role;

use crate::attester::Attester;
use crate::stand::Stand;

/// A running process, killed when dropped.
struct Registrar {
    child: Child,
    log: std::thread::JoinHandle<()>,
}

impl Registrar {
    /// Starts the binary beside the stand's ledger and points the stand at it.
    fn start(stand: &mut Stand) -> Self {
        let tls = stand.data("tls");
        let issue = |name: &str, leaf: &Leaf| {
            stand.authority.open_or_issue(&tls, name, leaf, KeyAlgorithm::EcP256).unwrap();
        };
        issue("server", &Leaf::server("registrar", &[], &[]));
        issue("registrar", &Leaf::client("registrar", Role::Service));
        let mut child = command(&tls)
            .args(["--listen-tls", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0", "--log-format", "json"])
            .args(["--ledger-url", &format!("https://{}", stand.ledger.as_ref().unwrap().address())])
            .arg("--data")
            .arg(stand.data("registrar"))
            .arg("--trust")
            .arg(stand.data("trust"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let listens = lines.find(|line| line.contains("the registrar listens")).unwrap();
        let listens: Value = serde_json::from_str(&listens).unwrap();
        let address = |name: &str| -> SocketAddr {
            let text = listens["fields"][name].as_str().unwrap();
            text.trim_start_matches("Some(").trim_end_matches(')').parse().unwrap()
        };
        (stand.tls, stand.plain) = (address("tls_address"), address("plain_address"));
        // Read on, so that the process never waits for us.
        let log = std::thread::spawn(move || lines.for_each(drop));
        Self { child, log }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.join().unwrap();
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        self.log.join().unwrap();
        status.code()
    }
}

fn command(tls: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-registrar"));
    for (flag, file) in [
        ("--tls-cert", "server-cert.crt"),
        ("--tls-key", "server-private.pem"),
        ("--client-ca", "cacert.crt"),
        ("--ledger-cert", "registrar-cert.crt"),
        ("--ledger-key", "registrar-private.pem"),
    ] {
        command.arg(flag).arg(tls.join(file));
    }
    command
}

#[tokio::test]
async fn what_was_confirmed_is_there_after_kill_9() {
    let mut stand = Stand::without_registrar().await;
    let process = Registrar::start(&mut stand);
    stand.wait_until_ready().await;
    let agent = Attester::certified("node-1", KeyKind::P256, 0, &stand.vendor);
    assert_eq!(agent.enrol(&stand).await.status, StatusCode::OK);
    process.kill();

    let process = Registrar::start(&mut stand);
    let read = stand.admin(Method::GET, &agent.path()).await;
    assert_eq!(read.status, StatusCode::OK);
    assert_eq!(read.json()["results"]["aik_tpm"], agent.body.aik_tpm);
    stand.wait_until_ready().await;
    assert_eq!(stand.admin(Method::DELETE, &agent.path()).await.status, StatusCode::OK);
    process.kill();

    let process = Registrar::start(&mut stand);
    assert_eq!(stand.admin(Method::GET, &agent.path()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(process.terminate(), Some(0));
}

#[tokio::test]
async fn a_private_key_that_others_can_read_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let mut stand = Stand::without_registrar().await;
    assert_eq!(Registrar::start(&mut stand).terminate(), Some(0));
    let tls = stand.data("tls");
    std::fs::set_permissions(tls.join("server-private.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = command(&tls)
        .args(["--ledger-url", "https://127.0.0.1:1", "--data", "/nonexistent", "--trust", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let log = String::from_utf8(refused.stderr).unwrap();
    assert!(log.contains("server-private.pem") && log.contains("chmod"), "{log}");
}

#[test]
fn wrong_arguments_end_with_2_and_help_with_examples() {
    let run = |argument: &str| Command::new(env!("CARGO_BIN_EXE_attestry-registrar")).arg(argument).output().unwrap();
    assert_eq!(run("--nonsense").status.code(), Some(2));
    let help = run("--help");
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
}
