//! The bundle: a directory that proves a run of one agent's entries. Source: `docs/spec/bundle.md`.

mod manifest;
mod reader;
mod writer;

pub use manifest::{FORMAT, ListedEntry, ListedStamp, Manifest, ManifestRejected};
pub use reader::{Bundle, BundleUnreadable, FileProblem};
pub use writer::{BundleWriter, WriteError};

use ledger_protocol::body::{AgentPolicy, Enrol, QuoteBody, Verdict};
use ledger_tlog::hash::Hash;
use ledger_tlog::proof::ConsistencyProof;
use messages::Digest;

/// The index of a bundle.
pub const MANIFEST: &str = "manifest.json";
/// The checkpoint everything is proven against.
pub const CHECKPOINT: &str = "checkpoint";
/// The folder of the log's `timestamp` entries, there if the bundle lists any.
pub const STAMPS_FOLDER: &str = "timestamps";
/// The folders that every bundle has; with [`STAMPS_FOLDER`] there are no others.
pub const FOLDERS: [&str; 5] = ["blobs", "checkpoints", "consistency", "entries", "proofs"];

/// Path of the entry with that index.
#[must_use]
pub fn entry_path(index: u64) -> String {
    format!("entries/{index}.cbor")
}

/// Path of the inclusion proof of the entry with that index.
#[must_use]
pub fn proof_path(index: u64) -> String {
    format!("proofs/{index}.tlog-proof")
}

/// Path of the `timestamp` entry with that index.
#[must_use]
pub fn stamp_path(index: u64) -> String {
    format!("{STAMPS_FOLDER}/{index}.cbor")
}

/// Path of the inclusion proof of the `timestamp` entry with that index.
#[must_use]
pub fn stamp_proof_path(index: u64) -> String {
    format!("{STAMPS_FOLDER}/{index}.tlog-proof")
}

/// Path of the blob of that name.
#[must_use]
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{digest}")
}

/// Path of the beacon's note of that size.
#[must_use]
pub fn beacon_path(size: u64) -> String {
    format!("checkpoints/{size}")
}

/// Path of the proof that the bundle's tree extends the beacon's.
#[must_use]
pub fn consistency_path(size: u64) -> String {
    format!("consistency/{size}")
}

/// The text of a consistency proof: the body of a C2SP witness's `add-checkpoint`.
///
/// ```text
/// old <size>
/// <one base64 hash per line, lowest subtree first>
///
/// <the newer checkpoint, verbatim>
/// ```
#[must_use]
pub fn consistency_text(old: u64, proof: &ConsistencyProof, checkpoint: &[u8]) -> Vec<u8> {
    let mut text = format!("old {old}\n");
    for hash in proof.hashes() {
        text.push_str(&hash.to_base64());
        text.push('\n');
    }
    text.push('\n');
    [text.as_bytes(), checkpoint].concat()
}

/// Reads the text of [`consistency_text`]; none unless writing it again gives the same bytes.
#[must_use]
pub fn parse_consistency(bytes: &[u8], old: u64, checkpoint: &[u8]) -> Option<ConsistencyProof> {
    let head = std::str::from_utf8(bytes.strip_suffix(checkpoint)?).ok()?;
    let lines = head.strip_suffix("\n\n")?.split('\n').skip(1);
    let hashes = lines.map(|line| Hash::from_base64(line).ok()).collect::<Option<Vec<_>>>()?;
    let proof = ConsistencyProof::new(hashes);
    (consistency_text(old, &proof, checkpoint) == bytes).then_some(proof)
}

/// The blobs that a body of an entry names, so that a bundle holds them.
pub trait NamesBlobs {
    /// The names, in the body's order.
    fn blobs(&self) -> Vec<Digest>;
}

impl NamesBlobs for Enrol {
    fn blobs(&self) -> Vec<Digest> {
        vec![self.binding]
    }
}

impl NamesBlobs for AgentPolicy {
    fn blobs(&self) -> Vec<Digest> {
        self.policies.iter().map(|policy| policy.digest).chain([self.binding]).collect()
    }
}

impl NamesBlobs for QuoteBody {
    fn blobs(&self) -> Vec<Digest> {
        self.ima.delta.into_iter().chain(self.boot_log).collect()
    }
}

impl NamesBlobs for Verdict {
    fn blobs(&self) -> Vec<Digest> {
        self.policies.iter().copied().chain([self.binding]).collect()
    }
}
