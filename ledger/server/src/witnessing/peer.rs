//! One witness, asked over HTTP. Source: C2SP tlog-witness.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use ledger_tlog::checkpoint::{Checkpoint, CheckpointRejected};
use ledger_tlog::hash::Hash;
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::note::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, Note, NoteRejected, NoteSignature};
use ledger_tlog::tree::{TreeError, TreeHead, consistency_proof};
use transport::client::{Answer, Client, ClientError, Outgoing};

use super::Line;
use super::standing::{Contradiction, judge};
use crate::levels::Levels;

/// A witness and what is known of its state.
pub(super) struct Peer {
    client: Client,
    /// The size it has cosigned, as far as known; it says so itself when this is wrong.
    held: AtomicU64,
    key: NoteVerifier,
    log: NoteVerifier,
    url: String,
}

/// A checkpoint to be cosigned.
pub(super) struct Statement {
    pub(super) head: TreeHead,
    /// With the log's signature alone.
    pub(super) note: Note,
    /// To prove that it extends what the witness holds.
    pub(super) levels: Arc<Levels>,
}

/// Why a witness did not cosign, or did not say what it has cosigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubmitFailed {
    /// It claims to hold what it cannot show.
    #[error("it claims to hold {claimed} entries, beyond this checkpoint's {size}, and shows no proof")]
    Claim { claimed: u64, size: u64 },
    /// What it has cosigned is signed by this log and does not fit.
    #[error("it has cosigned another history")]
    Contradiction(#[source] Contradiction),
    /// No line of the answer is a genuine cosignature with its key.
    #[error("its answer has no genuine cosignature with its key {key}")]
    Cosignature { key: String },
    /// What it shows as this log's checkpoint is not.
    #[error("what it shows is no checkpoint of this log that it has cosigned")]
    Shown(#[source] CheckpointRejected),
    /// What it shows bears the log's signature only.
    #[error("what it shows it has not cosigned")]
    NotCosigned,
    /// It refuses.
    #[error("it answers {status}: {text}")]
    Refused { status: StatusCode, text: String },
    /// Stored hashes could not be read.
    #[error("the hashes for a proof cannot be read")]
    Tree(#[source] TreeError<std::io::Error>),
    /// It was not reached or did not answer.
    #[error("it does not answer")]
    Unreached(#[source] ClientError),
    /// It answers each size with another one.
    #[error("it does not settle on the size it holds: {held}")]
    Unsettled { held: u64 },
}

impl Peer {
    pub(super) fn new(client: Client, key: NoteVerifier, url: &str, log: &NoteVerifier) -> Self {
        Self { client, held: AtomicU64::new(0), key, log: log.clone(), url: url.to_owned() }
    }

    pub(super) fn name(&self) -> &str {
        self.key.name().as_str()
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Has a checkpoint cosigned, and verifies the cosignature.
    pub(super) async fn submit(&self, statement: &Statement, timeout: Duration) -> Result<Line, SubmitFailed> {
        let size = statement.head.tree_size;
        for attempt in 1..=SUBMIT_ATTEMPTS {
            let held = self.held.load(Ordering::Relaxed);
            // A size that only it claims is asked about again, from nothing.
            let old = if held > size { 0 } else { held };
            let outgoing = Outgoing::new(Method::POST, format!("{}/add-checkpoint", self.url));
            let outgoing = Outgoing { answer_bytes_max: ANSWER_BYTES_MAX, timeout, ..outgoing };
            let body = body(old, statement).map_err(SubmitFailed::Tree)?;
            let answer = match self.client.request(outgoing.with_body("text/plain; charset=utf-8", body)).await {
                Ok(answer) => answer,
                // A kept connection may have been closed meanwhile; asking twice changes nothing.
                Err(ClientError::Protocol { .. } | ClientError::CertificateRefused { .. }) if attempt == 1 => continue,
                Err(error) => return Err(SubmitFailed::Unreached(error)),
            };
            match answer.status {
                StatusCode::OK => {
                    let line = self.cosignature(&statement.note, &answer)?;
                    self.held.store(size, Ordering::Relaxed);
                    return Ok(line);
                }
                StatusCode::CONFLICT => {
                    let claimed = size_of(&answer).ok_or_else(|| refused(&answer))?;
                    self.held.store(claimed, Ordering::Relaxed);
                    if claimed > size {
                        self.check(statement.head, &statement.levels, timeout).await?;
                        return Err(SubmitFailed::Claim { claimed, size });
                    }
                }
                StatusCode::UNPROCESSABLE_ENTITY => {
                    self.check(statement.head, &statement.levels, timeout).await?;
                    return Err(refused(&answer));
                }
                _ => return Err(refused(&answer)),
            }
        }
        Err(SubmitFailed::Unsettled { held: self.held.load(Ordering::Relaxed) })
    }

    /// Asks for the latest checkpoint it has cosigned and compares it with what was `signed` here;
    /// the size it has, 0 if it has none.
    ///
    /// Only a checkpoint with the signatures of both, log and witness, contradicts: no witness can
    /// stop a log by its word alone.
    pub(super) async fn check(
        &self,
        signed: TreeHead,
        levels: &Levels,
        timeout: Duration,
    ) -> Result<u64, SubmitFailed> {
        let origin = self.log.name().as_str();
        let url = format!("{}/{}/checkpoint", self.url, Hash::digest(origin.as_bytes()));
        let outgoing = Outgoing { answer_bytes_max: NOTE_BYTES_MAX, timeout, ..Outgoing::new(Method::GET, url) };
        let answer = self.client.request(outgoing).await.map_err(SubmitFailed::Unreached)?;
        let theirs = match answer.status {
            StatusCode::OK => {
                let keys = std::slice::from_ref(&self.key);
                let opened = Checkpoint::open(&answer.body, origin, &self.log, keys).map_err(SubmitFailed::Shown)?;
                // The log's own signature is the proof; the witness's only shows who has it.
                if !opened.note().is_signed_by(&self.key) && !opened.note().has_unverifiable(&self.key) {
                    return Err(SubmitFailed::NotCosigned);
                }
                *opened.tree_head()
            }
            StatusCode::NOT_FOUND => TreeHead::EMPTY,
            _ => return Err(refused(&answer)),
        };
        judge(self.name(), theirs, signed, levels).map_err(SubmitFailed::Tree)?.map_err(SubmitFailed::Contradiction)?;
        self.held.store(theirs.tree_size, Ordering::Relaxed);
        Ok(theirs.tree_size)
    }

    /// The cosignature, genuine unless it cannot be verified here, among the lines of an answer; lines of other keys are passed over.
    fn cosignature(&self, note: &Note, answer: &Answer) -> Result<Line, SubmitFailed> {
        let none = || SubmitFailed::Cosignature { key: self.key.to_string() };
        let text = str::from_utf8(&answer.body).map_err(|_| none())?;
        let lines = text.lines().take(NOTE_SIGNATURES_MAX).filter_map(|line| NoteSignature::parse(line).ok());
        let mut ours = lines.filter(|line| line.name == *self.key.name() && line.key_id == self.key.id());
        let line = ours.next().ok_or_else(none)?;
        let mut alone = Note::new(note.text().to_owned()).map_err(|_| none())?;
        alone.add_signatures([line.clone()]);
        let verified = match alone.verify(std::slice::from_ref(&self.key)) {
            Ok(verified) => verified,
            // Others may be able to verify it.
            Err(NoteRejected::Unverifiable { .. }) => return Ok((line, None)),
            Err(_) => return Err(none()),
        };
        let time = verified.signatures().iter().find_map(|signature| signature.time).ok_or_else(none)?;
        Ok((line, Some(time)))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} at {})", self.key.name(), self.url)
    }
}

/// `old <size>`, the proof's hashes, an empty line, the note.
fn body(old: u64, statement: &Statement) -> Result<String, TreeError<std::io::Error>> {
    let mut body = format!("old {old}\n");
    if old > 0 {
        let read = |level, start, out: &mut [Hash]| statement.levels.read(level, start, out);
        for hash in consistency_proof(old, statement.head.tree_size, read)?.hashes() {
            body.push_str(&hash.to_base64());
            body.push('\n');
        }
    }
    body.push('\n');
    body.push_str(&statement.note.to_string());
    Ok(body)
}

/// The size in the body of a 409, which has a content type of its own.
fn size_of(answer: &Answer) -> Option<u64> {
    let kind = answer.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let digits = str::from_utf8(&answer.body).ok()?.strip_suffix('\n')?;
    let size: u64 = digits.parse().ok()?;
    (kind == "text/x.tlog.size" && size.to_string() == digits).then_some(size)
}

fn refused(answer: &Answer) -> SubmitFailed {
    let text = String::from_utf8_lossy(&answer.body);
    let shown = text.chars().take(REASON_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    SubmitFailed::Refused { status: answer.status, text: shown.trim_end().to_owned() }
}

/// One with what is believed, one with what the 409 said, and one more if another submission of
/// ours, cut off earlier, was carried out in between.
const SUBMIT_ATTEMPTS: u32 = 3;

/// An ML-DSA-44 cosignature line has 3.3 KiB; a witness has a few keys at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A refusal is kept up to a few lines, enough to recognise it.
const REASON_CHARS_MAX: usize = 300;
