//! Asking for a proof of an interval: of a ledger, or of a copy of its log.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use ledger_history::{fleet::Selection, interval::IntervalProof};
use ledger_protocol::{
    Entry, Kind,
    body::{Body, Enrol, PolicyBody, QuoteBody, Verdict},
};
use messages::{AgentId, Digest};

use crate::{
    bundle::NamesBlobs,
    ledger::{Ledger, LedgerUnavailable},
    log::Log,
    rebuild::{self, NotRebuilt},
};

/// What a proof is to show.
#[derive(Clone, Debug)]
pub struct Ask {
    /// First and last second of the interval.
    pub interval: (u64, u64),
    /// Of one machine, or of all.
    pub about: About,
}

/// Whom a proof is about.
#[derive(Clone, Debug)]
pub enum About {
    /// All machines, of which those that are selected are shown one by one.
    Fleet(Selection),
    /// One machine.
    Machine {
        /// Its id.
        agent: AgentId,
        /// Gaps longer than this many seconds are shown.
        gap: u64,
        /// Whether the first and last quote of each boot are shown.
        boots: bool,
        /// Whether every entry is shown.
        full: bool,
    },
}

/// Where a proof is made.
#[derive(Debug)]
pub enum Maker<'a> {
    /// By a ledger.
    Ledger(&'a Ledger),
    /// Here, from a copy of the log.
    Copy(&'a Log),
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// Two files cannot have one name.
    #[error("{path} exists; name a new file", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The ledger gives none.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
    /// The copy of the log gives none.
    #[error(transparent)]
    Rebuild(#[from] NotRebuilt),
}

/// Makes a proof, as bytes. Nothing is believed of it: verify it with the log's key.
///
/// # Errors
/// [`NotMade`].
pub fn prove(maker: &Maker<'_>, ask: &Ask) -> Result<Vec<u8>, NotMade> {
    Ok(match (maker, &ask.about) {
        (Maker::Ledger(ledger), About::Machine { agent, gap, boots, full }) => {
            ledger.interval_proof(agent, ask.interval, *gap, (*boots, *full))?
        }
        (Maker::Ledger(ledger), About::Fleet(selection)) => ledger.fleet_proof(ask.interval, selection)?,
        (Maker::Copy(log), _) => rebuild::prove(log, ask)?,
    })
}

/// Writes a proof to a new file, and with `full` the blobs that its entries name into the folder beside it.
/// Returns the blobs that are not kept any more.
///
/// # Errors
/// [`NotMade`].
pub fn write(maker: &Maker<'_>, ask: &Ask, proof: &[u8], path: &Path) -> Result<Vec<Digest>, NotMade> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => NotMade::Exists { path },
            _ => NotMade::Io { path, source },
        }
    };
    let mut file = fs::File::create_new(path).map_err(failed(path))?;
    io::Write::write_all(&mut file, proof).map_err(failed(path))?;
    let mut missing = Vec::new();
    if matches!(ask.about, About::Machine { full: true, .. }) {
        let folder = blobs_folder(path);
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        for digest in named(proof) {
            let blob = match maker {
                Maker::Ledger(ledger) => ledger.blob(&digest)?,
                Maker::Copy(log) => log.blob(&digest).map_err(NotRebuilt::Log)?,
            };
            match blob {
                Some(bytes) => {
                    let path = folder.join(digest.to_string());
                    fs::write(&path, bytes).map_err(failed(&path))?;
                }
                None => missing.push(digest),
            }
        }
    }
    Ok(missing)
}

/// Where the blobs of a full proof are: beside it.
#[must_use]
pub fn blobs_folder(proof: &Path) -> PathBuf {
    let mut name = proof.as_os_str().to_owned();
    name.push(".blobs");
    PathBuf::from(name)
}

/// The blobs that a proof's entries name.
fn named(proof: &[u8]) -> BTreeSet<Digest> {
    let Ok(proof) = IntervalProof::decode(proof) else { return BTreeSet::new() };
    let entries = proof.terms.entries.iter().chain(&proof.entries).filter_map(|bytes| Entry::decode(bytes).ok());
    entries.flat_map(|entry| of_entry(&entry)).collect()
}

fn of_entry(entry: &Entry) -> Vec<Digest> {
    let body = &entry.body;
    match entry.kind {
        Kind::Enrol => Enrol::decode(body).map(|body| body.blobs()).unwrap_or_default(),
        Kind::Policy => match PolicyBody::decode(body) {
            Ok(PolicyBody::Agent(policy)) => policy.blobs(),
            Ok(PolicyBody::Named(_)) | Err(_) => Vec::new(),
        },
        Kind::Quote => QuoteBody::decode(body).map(|body| body.blobs()).unwrap_or_default(),
        Kind::Verdict => Verdict::decode(body).map(|body| body.blobs()).unwrap_or_default(),
        _ => Vec::new(),
    }
}
