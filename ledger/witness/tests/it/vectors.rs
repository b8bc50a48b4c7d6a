//! The requests of another implementation's tests, where they lie beside the workspace.

use std::io::Write as _;
use std::path::PathBuf;

use http::StatusCode;
use ledger_tlog::key::{KeyName, NoteVerifier};
use ledger_tlog::note::Note;
use serde_json::Value;

use crate::rig::{Process, Rig, content_type, text};

/// The section of the vectors, or nothing, loudly.
fn vectors() -> Option<Value> {
    let name = "../../../shared/vectors/ledger/notes-and-witness.json";
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), name].iter().collect();
    match std::fs::read(&path) {
        Ok(bytes) => {
            let all: Value = serde_json::from_slice(&bytes).unwrap();
            Some(all.get("add_checkpoint").unwrap().clone())
        }
        Err(error) => {
            // Written past the test harness, which would keep it to itself.
            let skipped = format!("SKIPPED: {}: {error}\n", path.display());
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            None
        }
    }
}

struct Vectors {
    origin: String,
    requests: Vec<String>,
    rig: Rig,
}

fn load() -> Option<Vectors> {
    let vectors = vectors()?;
    let requests = vectors.get("requests").and_then(Value::as_array).unwrap();
    let requests: Vec<String> = requests.iter().map(|body| body.as_str().unwrap().to_owned()).collect();
    let origin = requests.first().and_then(|body| body.lines().nth(2)).unwrap().to_owned();
    let public = hex::decode(vectors.get("log_ed25519_public_hex").and_then(Value::as_str).unwrap()).unwrap();
    let key = NoteVerifier::ed25519(KeyName::new(&origin).unwrap(), &public).unwrap();
    let mut rig = Rig::new();
    rig.logs = vec![key.to_string()];
    Some(Vectors { origin, requests, rig })
}

impl Vectors {
    async fn accepted(&self, witness: &Process, number: usize) {
        let body = self.requests.get(number).unwrap();
        let answer = witness.ask(body.as_str()).await;
        assert_eq!(answer.status, StatusCode::OK, "request {number}: {}", text(&answer));
        let note = body.split_once("\n\n").unwrap().1;
        let cosigned = Note::parse(format!("{note}{}", text(&answer)).as_bytes()).unwrap();
        let verified = cosigned.verify(std::slice::from_ref(&self.rig.vkey)).unwrap();
        assert!(verified.is_signed_by(&self.rig.vkey));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_requests_are_accepted_in_their_orders() {
    let Some(vectors) = load() else { return };
    let witness = vectors.rig.spawn();
    vectors.accepted(&witness, 0).await;
    vectors.accepted(&witness, 1).await;
    // The third one also builds on size 1, which is gone now.
    let late = witness.ask(vectors.requests.get(2).unwrap().as_str()).await;
    assert_eq!((late.status, text(&late).as_str()), (StatusCode::CONFLICT, "3\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smaller_of_two_racing_requests_does_not_roll_the_larger_back() {
    let Some(vectors) = load() else { return };
    let witness = vectors.rig.spawn();
    vectors.accepted(&witness, 0).await;
    vectors.accepted(&witness, 2).await;
    let smaller = witness.ask(vectors.requests.get(1).unwrap().as_str()).await;
    assert_eq!((smaller.status, text(&smaller).as_str()), (StatusCode::CONFLICT, "5\n"));
    assert_eq!(content_type(&smaller), "text/x.tlog.size");
    let latest = text(&witness.latest(&vectors.origin).await);
    assert_eq!(latest.lines().nth(1), Some("5"));
}
