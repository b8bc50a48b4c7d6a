//! A witness on a loopback port, as a process of its own, and a log to ask it.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use http::{Method, StatusCode};
use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint};
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::key::{KeyName, NoteVerifier};
use ledger_tlog::signer::NoteSigner;
use ledger_tlog::tree::{consistency_proof, tree_head};
use ledger_witness::identity;
use tempfile::TempDir;
use transport::client::{Answer, Client, Outgoing};
use transport::tls::{ClientTls, ClientTlsConfig, HostNames};

pub(crate) const ORIGIN: &str = "log.test/one";

/// A folder with a witness's key.
pub(crate) struct Rig {
    folder: TempDir,
    pub(crate) logs: Vec<String>,
    pub(crate) vkey: NoteVerifier,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vkey =
            identity::create(&folder.path().join("witness"), "witness.test/w1", ledger_keys::KeyType::Ed25519).unwrap();
        Self { folder, logs: vec![Log::new("a").signer.verifier().to_string()], vkey }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.data().join("checkpoints").join(Hash::digest(ORIGIN.as_bytes()).to_string())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attestry-witness"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--prefix", "/w1", "--data"]).arg(self.data());
        for log in &self.logs {
            command.args(["--log", log]);
        }
        command.env("RUST_LOG", "error");
        command
    }

    pub(crate) fn spawn(&self) -> Process {
        let mut child = self.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Process { child, url: format!("http://{address}/w1") }
    }

    /// Runs the binary where it is expected to end by itself.
    pub(crate) fn run(&self) -> Output {
        self.command().output().unwrap()
    }
}

/// The binary at work. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    pub(crate) async fn ask(&self, body: impl Into<Vec<u8>>) -> Answer {
        let outgoing = Outgoing::new(Method::POST, format!("{}/add-checkpoint", self.url));
        client().request(outgoing.with_body("text/plain", body.into())).await.unwrap()
    }

    pub(crate) async fn latest(&self, origin: &str) -> Answer {
        let name = Hash::digest(origin.as_bytes());
        client().request(Outgoing::new(Method::GET, format!("{}/{name}/checkpoint", self.url))).await.unwrap()
    }

    /// With SIGKILL, at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One history of a log; two of them share key and origin but no leaf.
pub(crate) struct Log {
    pub(crate) history: &'static str,
    pub(crate) signer: NoteSigner,
}

impl Log {
    pub(crate) fn new(history: &'static str) -> Self {
        Self { history, signer: NoteSigner::from_seed(KeyName::new(ORIGIN).unwrap(), &[1; 32]).unwrap() }
    }

    fn read(&self) -> impl Fn(u8, u64, &mut [Hash]) -> Result<(), Infallible> {
        let history = self.history;
        move |_, start, out| {
            for (index, hash) in (start..).zip(out) {
                *hash = leaf_hash(format!("{history} {index}").as_bytes());
            }
            Ok(())
        }
    }

    pub(crate) fn note(&self, size: u64) -> String {
        let head = tree_head(size, self.read()).unwrap();
        Checkpoint::new(ORIGIN, head).unwrap().sign(&self.signer).unwrap().to_string()
    }

    pub(crate) fn request(&self, old: u64, new: u64) -> String {
        let mut body = format!("old {old}\n");
        if old > 0 && old <= new {
            for hash in consistency_proof(old, new, self.read()).unwrap().hashes() {
                body.push_str(&format!("{}\n", hash.to_base64()));
            }
        }
        format!("{body}\n{}", self.note(new))
    }

    /// The checkpoint with an answer's lines, if they are a cosignature by `witness` and nothing else.
    pub(crate) fn opened(&self, size: u64, answer: &Answer, witness: &NoteVerifier) -> AuthenticCheckpoint {
        assert_eq!(answer.status, StatusCode::OK, "{}", text(answer));
        let cosigned = format!("{}{}", self.note(size), text(answer));
        let opened = open(&cosigned, witness);
        assert_eq!(opened.tree_head().tree_size, size);
        opened
    }
}

/// A note that log and witness have signed.
pub(crate) fn open(note: &str, witness: &NoteVerifier) -> AuthenticCheckpoint {
    let log = Log::new("a");
    let keys = std::slice::from_ref(witness);
    let opened = Checkpoint::open(note.as_bytes(), ORIGIN, log.signer.verifier(), keys).unwrap();
    assert!(opened.note().is_signed_by(witness));
    assert_eq!(opened.note().note().signatures().len(), 2);
    opened
}

pub(crate) fn client() -> Client {
    let config = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
    Client::new(ClientTls::new(&config).unwrap())
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

pub(crate) fn content_type(answer: &Answer) -> &str {
    answer.headers.get("content-type").unwrap().to_str().unwrap()
}
