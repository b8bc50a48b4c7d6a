//! Making a bundle: which entries, and everything that proves them.

mod selection;
mod stamps;

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ledger_protocol::{
    Entry, EntryError,
    body::{Body, Enrol, PolicyBody, QuoteBody, Verdict},
};
use ledger_tlog::{
    checkpoint::{Checkpoint, CheckpointRejected, MalformedCheckpoint},
    key::NoteVerifier,
    note::{MalformedNote, Note},
    proof::{InclusionError, verify_inclusion},
    tlog_proof::TlogProof,
    tree::{TreeError, TreeHead},
};
use messages::{AgentId, Digest, UnixMillis, cbor::CborError};
use selection::Selection;
use stamps::Span;

use crate::{
    bundle::{BundleWriter, FORMAT, ListedEntry, ListedStamp, Manifest, NamesBlobs, WriteError},
    ledger::{Ledger, LedgerUnavailable, Tiles, TilesError},
};

/// How long to wait for a checkpoint over the newest entry: a ledger signs one every second.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(10);
/// Pause between two looks at the checkpoint.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(200);

/// What is exported.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whose entries.
    pub agent: &'a AgentId,
    /// Start of the interval; from the beginning if none.
    pub from: Option<UnixMillis>,
    /// End of the interval; to the end if none.
    pub to: Option<UnixMillis>,
    /// Refuses a ledger that does not sign with this key.
    pub log_key: Option<&'a NoteVerifier>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Entries in the bundle.
    pub entries: usize,
    /// Blobs in it.
    pub blobs: usize,
    /// Beacons in it.
    pub checkpoints: usize,
    /// Time-stamps in it.
    pub timestamps: usize,
    /// Entries under its checkpoint.
    pub tree_size: u64,
    /// Blobs that entries name and the ledger does not keep.
    pub blobs_missing: Vec<Digest>,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger's checkpoint is not signed by the key that was given.
    #[error("the ledger's checkpoint is not signed by the key given with --log-key")]
    Checkpoint(#[source] CheckpointRejected),
    /// An entry is not one.
    #[error("the ledger serves an entry at index {index} that is none")]
    Entry {
        /// Where.
        index: u64,
        /// What is wrong with it.
        source: EntryError,
    },
    /// An entry's body is not what its kind says.
    #[error("the ledger serves an entry at index {index} with a malformed body")]
    Body {
        /// Where.
        index: u64,
        /// What is wrong with it.
        source: CborError,
    },
    /// The ledger's checkpoint is none.
    #[error("the ledger serves a checkpoint that is none")]
    MalformedCheckpoint(#[source] MalformedCheckpoint),
    /// The ledger's checkpoint is no note.
    #[error("the ledger serves a checkpoint that is no signed note")]
    MalformedNote(#[source] MalformedNote),
    /// The agent has no entries.
    #[error("the ledger has no entries of agent {agent}; is the id right?")]
    NoEntries {
        /// The agent.
        agent: AgentId,
    },
    /// The ledger's hashes do not prove its entry.
    #[error("the ledger's tiles do not prove its entry {index}; have its operator run attestry-ledger fsck")]
    NotIncluded {
        /// The entry.
        index: u64,
        /// Why not.
        source: InclusionError,
    },
    /// The ledger's hashes are not to be had.
    #[error("a proof could not be computed")]
    Proof(#[source] TreeError<TilesError>),
    /// The ledger signs no checkpoint over the entries that are to be exported.
    #[error("the ledger's checkpoint has {tree_size} entries and does not cover entry {index}; is the ledger signing?")]
    Uncovered {
        /// The last entry.
        index: u64,
        /// Entries under the checkpoint.
        tree_size: u64,
    },
    /// No answer from the ledger.
    #[error("the ledger could not be asked")]
    Unavailable(#[from] LedgerUnavailable),
    /// The bundle could not be written.
    #[error("the bundle could not be written")]
    Write(#[from] WriteError),
}

/// Writes the bundle of `request` to `target`, which must not exist.
///
/// The chain is read from its beginning, since what was in force in the interval may have been set long before.
///
/// # Errors
/// [`ExportError`]; nothing is left at `target` then.
pub fn export(ledger: &Ledger, request: &Request<'_>, target: &Path) -> Result<Exported, ExportError> {
    let writer = BundleWriter::begin(target)?;
    let selection = Selection::choose(ledger, request)?;
    let (note, checkpoint) = covering_checkpoint(ledger, selection.last_index(), request.log_key)?;
    let mut work = Work {
        ledger,
        writer: &writer,
        tiles: Tiles::new(ledger, checkpoint.tree_head().tree_size),
        head: *checkpoint.tree_head(),
        note_bytes: note.to_bytes(),
        note,
        entries: Vec::new(),
        blobs: BTreeSet::new(),
        beacons: BTreeSet::new(),
        span: Span::default(),
        stamps: Vec::new(),
    };
    for (index, bytes) in selection.context() {
        work.entry(*index, bytes)?;
    }
    selection.run(ledger, request.agent, |index, bytes| work.entry(index, bytes))?;
    work.write_stamps()?;
    let blobs_missing = work.write_blobs()?;
    work.write_beacons()?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        agent: request.agent.clone(),
        from: request.from,
        to: request.to,
        origin: checkpoint.origin().to_owned(),
        tree_size: work.head.tree_size,
        entries: work.entries,
        blobs: work.blobs.difference(&blobs_missing.iter().copied().collect()).copied().collect(),
        checkpoints: work.beacons.into_iter().collect(),
        timestamps: work.stamps,
        digest: Digest::ZERO,
    };
    let exported = Exported {
        entries: manifest.entries.len(),
        blobs: manifest.blobs.len(),
        checkpoints: manifest.checkpoints.len(),
        timestamps: manifest.timestamps.len(),
        tree_size: manifest.tree_size,
        blobs_missing,
    };
    let note_bytes = work.note_bytes;
    writer.finish(&note_bytes, &manifest)?;
    Ok(exported)
}

/// The ledger's latest checkpoint, once it covers the entry.
fn covering_checkpoint(
    ledger: &Ledger,
    last_index: u64,
    log_key: Option<&NoteVerifier>,
) -> Result<(Note, Checkpoint), ExportError> {
    let begun = Instant::now();
    loop {
        let bytes = ledger.checkpoint()?;
        let note = Note::parse(&bytes).map_err(ExportError::MalformedNote)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(ExportError::MalformedCheckpoint)?;
        if let Some(key) = log_key {
            Checkpoint::open(&bytes, key.name().as_str(), key, &[]).map_err(ExportError::Checkpoint)?;
        }
        let tree_size = checkpoint.tree_head().tree_size;
        if tree_size > last_index {
            return Ok((note, checkpoint));
        }
        if begun.elapsed() >= CHECKPOINT_WAIT {
            return Err(ExportError::Uncovered { index: last_index, tree_size });
        }
        thread::sleep(CHECKPOINT_PAUSE);
    }
}

struct Work<'a> {
    ledger: &'a Ledger,
    writer: &'a BundleWriter,
    tiles: Tiles<'a>,
    head: TreeHead,
    note: Note,
    note_bytes: Vec<u8>,
    entries: Vec<ListedEntry>,
    blobs: BTreeSet<Digest>,
    beacons: BTreeSet<u64>,
    span: Span,
    stamps: Vec<ListedStamp>,
}

impl Work<'_> {
    /// Writes an entry with its proof, and notes what it names.
    fn entry(&mut self, index: u64, bytes: &[u8]) -> Result<(), ExportError> {
        let entry = Entry::decode(bytes).map_err(|source| ExportError::Entry { index, source })?;
        self.note_names(&entry).map_err(|source| ExportError::Body { index, source })?;
        self.span.take(index, &entry);
        let proof = self.proof(index, bytes)?;
        self.writer.entry(index, bytes, proof.as_bytes())?;
        self.entries.push(ListedEntry { index, seq: entry.seq, kind: entry.kind.name().to_owned() });
        Ok(())
    }

    /// The text of an entry's inclusion proof.
    fn proof(&mut self, index: u64, bytes: &[u8]) -> Result<String, ExportError> {
        let inclusion = self.tiles.inclusion(index).map_err(ExportError::Proof)?;
        let leaf = ledger_tlog::hash::leaf_hash(bytes);
        // Found here, a damaged ledger is its operator's to mend; found by an auditor, it is a false log.
        verify_inclusion(&leaf, index, &self.head, &inclusion)
            .map_err(|source| ExportError::NotIncluded { index, source })?;
        Ok(TlogProof { extra: None, index, inclusion, note: self.note.clone() }.to_string())
    }

    fn note_names(&mut self, entry: &Entry) -> Result<(), CborError> {
        use ledger_protocol::Kind;
        match entry.kind {
            Kind::Enrol => self.blobs.extend(Enrol::decode(&entry.body)?.blobs()),
            Kind::Policy => {
                if let PolicyBody::Agent(policy) = PolicyBody::decode(&entry.body)? {
                    self.blobs.extend(policy.blobs());
                }
            }
            Kind::Quote => {
                let quote = QuoteBody::decode(&entry.body)?;
                self.beacons.insert(quote.beacon.tree_size);
                self.blobs.extend(quote.blobs());
            }
            Kind::Verdict => self.blobs.extend(Verdict::decode(&entry.body)?.blobs()),
            _ => {}
        }
        Ok(())
    }

    /// Writes the blobs; returns those the ledger does not keep.
    fn write_blobs(&self) -> Result<Vec<Digest>, ExportError> {
        let mut missing = Vec::new();
        for digest in &self.blobs {
            match self.ledger.blob(digest)? {
                Some(bytes) => self.writer.blob(digest, &bytes)?,
                None => missing.push(*digest),
            }
        }
        Ok(missing)
    }

    fn write_beacons(&mut self) -> Result<(), ExportError> {
        for size in &self.beacons {
            let note = self.ledger.kept_checkpoint(*size)?;
            let proof = self.tiles.consistency(*size).map_err(ExportError::Proof)?;
            self.writer.beacon(*size, &note, &proof, &self.note_bytes)?;
        }
        Ok(())
    }
}
