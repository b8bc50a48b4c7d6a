//! A ledger on a loopback port with an authority of its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode};
use ledger_client::{LedgerClient, LedgerClientConfig};
use ledger_server::{Config, HistoriesConfig, LogConfig, Monitoring, Running, StampingConfig, WitnessConfig, start};
use ledger_tlog::key::NoteVerifier;
use tempfile::TempDir;
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::client::{Answer, Client, Outgoing};
use transport::router::Role;
use transport::server::{Limits, Shutdown, ShutdownHandle};
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls};

use crate::hostile::Hostile;

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Caller {
    Admin,
    Anonymous,
    Auditor,
    Service,
}

pub(crate) const CALLERS: [Caller; 4] = [Caller::Admin, Caller::Anonymous, Caller::Auditor, Caller::Service];

/// A folder for a log, and certificates for those who speak with it.
pub(crate) struct Rig {
    /// More for the binary's command line.
    pub(crate) arguments: Vec<OsString>,
    authority: Authority,
    folder: TempDir,
    pub(crate) histories: Option<HistoriesConfig>,
    pub(crate) interval: Duration,
    /// The lock's folder, if it is not in the data directory.
    pub(crate) lock: Option<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) monitoring: Monitoring,
    pub(crate) public_read: bool,
    pub(crate) segment_bytes_max: u64,
    pub(crate) stamping: Option<StampingConfig>,
    pub(crate) witnesses: Option<WitnessConfig>,
}

/// A ledger at work in this process.
pub(crate) struct Served {
    running: Running,
    stop: ShutdownHandle,
    pub(crate) url: String,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tls = folder.path().join("tls");
        let authority = Authority::open_or_create(&tls, "test", KeyAlgorithm::EcP256).expect("an authority");
        authority
            .open_or_issue(&tls, "server", &Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256)
            .expect("a server certificate");
        let interval = Duration::from_millis(100);
        Self {
            arguments: Vec::new(),
            authority,
            folder,
            histories: None,
            interval,
            lock: None,
            monitoring: Monitoring { disk_free_bytes_min: 0, ..Monitoring::default() },
            limits: Limits::default(),
            public_read: false,
            segment_bytes_max: 1 << 20,
            stamping: None,
            witnesses: None,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.beside("ledger")
    }

    /// A place beside the data directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn tls(&self, name: &str) -> PathBuf {
        self.folder.path().join("tls").join(name)
    }

    pub(crate) fn log_config(&self) -> LogConfig {
        let mut config = LogConfig::new(self.data());
        config.checkpoint_interval = self.interval;
        config.origin = Some("ledger.test/log".to_owned());
        config.histories = self.histories;
        config.lock.clone_from(&self.lock);
        config.monitoring = self.monitoring.clone();
        config.segment_bytes_max = self.segment_bytes_max;
        config.stamping = self.stamping.clone();
        config.witnesses.clone_from(&self.witnesses);
        config
    }

    pub(crate) fn config(&self) -> Config {
        let identity = Identity::load(&self.tls("server-cert.crt"), &self.tls("server-private.pem"));
        let authorities = vec![self.authority.certificate().to_owned()];
        Config {
            address: ([127, 0, 0, 1], 0).into(),
            limits: self.limits,
            log: self.log_config(),
            public_read: self.public_read,
            tls: ServerTls::new(&identity.expect("an identity"), &ClientAuth::Optional(authorities)).expect("TLS"),
        }
    }

    fn histories_arguments(&self) -> Vec<String> {
        match self.histories {
            None => vec!["--no-histories".to_owned()],
            Some(HistoriesConfig { epoch, idle_checkpoint_interval }) => vec![
                format!("--epoch-ms={}", epoch.as_millis()),
                format!("--idle-checkpoint-ms={}", idle_checkpoint_interval.as_millis()),
            ],
        }
    }

    pub(crate) async fn serve(&self) -> Served {
        let (stop, shutdown) = Shutdown::new();
        let running = start(self.config(), shutdown).await.expect("a ledger that starts");
        let url = format!("https://{}", running.address());
        Served { running, stop, url }
    }

    pub(crate) fn client_tls(&self, caller: Caller) -> ClientTls {
        let role = match caller {
            Caller::Admin => Some(Role::Admin),
            Caller::Anonymous => None,
            Caller::Auditor => Some(Role::Auditor),
            Caller::Service => Some(Role::Service),
        };
        self.tls_as(role.map(|role| Leaf::client("caller", role)))
    }

    /// A service that misbehaves.
    pub(crate) fn hostile(&self, url: &str) -> Hostile {
        let issued = self.authority.issue(&Leaf::client("hostile", Role::Service), KeyAlgorithm::EcP256);
        let address = url.trim_start_matches("https://").parse().expect("an address");
        Hostile::new(address, &issued.expect("a client certificate"), self.authority.certificate())
    }

    /// A service of this name.
    pub(crate) fn service_tls(&self, name: &str) -> ClientTls {
        self.tls_as(Some(Leaf::client(name, Role::Service)))
    }

    fn tls_as(&self, leaf: Option<Leaf>) -> ClientTls {
        let identity = leaf.map(|leaf| {
            let issued = self.authority.issue(&leaf, KeyAlgorithm::EcP256);
            issued.expect("a client certificate")
        });
        let authorities = vec![self.authority.certificate().to_owned()];
        ClientTls::new(&ClientTlsConfig { authorities, host_names: HostNames::Checked, identity }).expect("TLS")
    }

    pub(crate) fn http(&self, caller: Caller) -> Client {
        Client::new(self.client_tls(caller))
    }

    pub(crate) fn ledger_client(&self, url: &str) -> LedgerClient {
        let mut config = LedgerClientConfig::new(url, self.client_tls(Caller::Service));
        config.give_up_after = Duration::from_millis(800);
        LedgerClient::new(config)
    }

    pub(crate) fn key(&self) -> NoteVerifier {
        let text = std::fs::read_to_string(self.data().join("log.vkey")).expect("a verifier key");
        text.trim_end().parse().expect("a verifier key")
    }

    /// The binary, serving the log; `before` is run by the shell that starts it.
    pub(crate) fn spawn(&self, before: &str) -> Process {
        let script = format!("{before} exec \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_attestry-ledger"), "serve", "--listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(self.data())
            .args(["--origin", "ledger.test/log", "--checkpoint-interval-ms", "30"])
            .arg("--tls-cert")
            .arg(self.tls("server-cert.crt"))
            .arg("--tls-key")
            .arg(self.tls("server-private.pem"))
            .arg("--client-ca")
            .arg(self.tls("cacert.crt"))
            .args(self.histories_arguments())
            .args(self.lock.iter().flat_map(|lock| [OsString::from("--lock"), lock.into()]))
            .args(&self.arguments)
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        Process { child, url: address.map(|address| format!("https://{address}")) }
    }
}

impl Served {
    pub(crate) fn monitoring(&self) -> Option<std::net::SocketAddr> {
        self.running.monitoring_address()
    }

    pub(crate) async fn stop(self) {
        self.stop.start();
        self.running.wait().await.expect("a ledger that ends well");
    }
}

/// The binary at work. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// `None` if it ended before it listened.
    pub(crate) url: Option<String>,
}

impl Process {
    /// How it ended, if it does within ten seconds.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.child.try_wait().expect("a process of ours") {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                ended => return ended,
            }
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("a process of ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn get(client: &Client, url: &str, path: &str) -> Answer {
    send(client, Outgoing { answer_bytes_max: 16 << 20, ..Outgoing::new(Method::GET, format!("{url}{path}")) }).await
}

pub(crate) async fn send(client: &Client, outgoing: Outgoing) -> Answer {
    client.request(outgoing).await.expect("an answer")
}

/// The answer's body if it is a success.
pub(crate) async fn body(client: &Client, url: &str, path: &str) -> Vec<u8> {
    let answer = get(client, url, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.body.to_vec()
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A copy of a log's folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
