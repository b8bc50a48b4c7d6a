//! The index of a bundle: which files there are. Nothing in it is believed.

use messages::{AgentId, Digest, UnixMillis};
use serde::{Deserialize, Serialize};

/// The bundle format this version reads and writes.
pub const FORMAT: &str = "attestry-bundle/1";

/// What a bundle says it holds.
///
/// It only says where to look: each fact is taken from a proven entry. Its own digest shows
/// that it came over whole, not who wrote it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Whose chain the entries are of.
    pub agent: AgentId,
    /// Start of the interval that was asked for; none means from the beginning.
    pub from: Option<UnixMillis>,
    /// End of the interval that was asked for; none means to the end.
    pub to: Option<UnixMillis>,
    /// The log.
    pub origin: String,
    /// Entries under the checkpoint.
    pub tree_size: u64,
    /// The entries, ascending by index.
    pub entries: Vec<ListedEntry>,
    /// The blobs, ascending.
    pub blobs: Vec<Digest>,
    /// Sizes of the beacons' checkpoints, ascending.
    pub checkpoints: Vec<u64>,
    /// The log's `timestamp` entries, ascending by index; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timestamps: Vec<ListedStamp>,
    /// SHA-256 of the manifest with this member all zeros.
    pub digest: Digest,
}

/// An entry the bundle holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListedEntry {
    /// Index in the log.
    pub index: u64,
    /// Number in the agent's chain.
    pub seq: u64,
    /// Name of the kind.
    pub kind: String,
}

/// A `timestamp` entry the bundle holds; the note and the token it names are among the blobs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListedStamp {
    /// Index in the log.
    pub index: u64,
    /// Entries under the checkpoint that was stamped.
    pub tree_size: u64,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestRejected {
    /// Another format, correctly written.
    #[error("the bundle has format {found:?}; this version reads {FORMAT:?}")]
    Format {
        /// The format named.
        found: String,
    },
    /// Not the JSON that a manifest is.
    #[error("the manifest is not the JSON of a bundle")]
    Json(#[source] serde_json::Error),
    /// Lists that are not strictly ascending.
    #[error("the manifest's {list} are not in ascending order")]
    Order {
        /// Which list.
        list: &'static str,
    },
    /// Read and written again it differs, or its digest does not fit.
    #[error("the manifest was changed after it was written: its digest is {found}, expected {expected}")]
    Text {
        /// The digest of what is there.
        expected: Digest,
        /// The digest it states.
        found: Digest,
    },
}

impl Manifest {
    /// The manifest's text, its digest filled in.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let digest = Self { digest: Digest::ZERO, ..self.clone() }.text_digest();
        Self { digest, ..self.clone() }.text()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestRejected`]: not JSON, changed, another format, or lists out of order.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestRejected> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestRejected::Json)?;
        let again = manifest.encode();
        if again != bytes {
            let expected = Self { digest: Digest::ZERO, ..manifest.clone() }.text_digest();
            return Err(ManifestRejected::Text { expected, found: manifest.digest });
        }
        if manifest.format != FORMAT {
            return Err(ManifestRejected::Format { found: manifest.format });
        }
        let order = |list, sorted: bool| if sorted { Ok(()) } else { Err(ManifestRejected::Order { list }) };
        order("entries", manifest.entries.is_sorted_by(|a, b| a.index < b.index))?;
        order("blobs", manifest.blobs.is_sorted_by(|a, b| a < b))?;
        order("checkpoints", manifest.checkpoints.is_sorted_by(|a, b| a < b))?;
        order("timestamps", manifest.timestamps.is_sorted_by(|a, b| a.index < b.index))?;
        Ok(manifest)
    }

    fn text_digest(&self) -> Digest {
        Digest(openssl::sha::sha256(&self.text()))
    }

    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("invariant: a manifest's members have a JSON form");
        text.push(b'\n');
        text
    }
}
