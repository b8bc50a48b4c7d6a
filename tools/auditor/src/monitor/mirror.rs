//! The monitor's own copy of a log: `tile/entries/…` of C2SP tlog-tiles, `checkpoints/<size>`, `blobs/<sha256>`, `checkpoint`.
//!
//! Files are written aside, synced and renamed; `checkpoint` comes last. So it is always a whole log, also after a kill.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use ledger_protocol::{
    Entry, Kind,
    body::{AgentPolicy, Body, CheckpointBody, Enrol, PolicyBody, QuoteBody, TimestampBody, Verdict},
};
use ledger_tlog::{
    bundle::append_entry,
    tile::{TILE_WIDTH, TilePath, TileSpan},
};
use messages::Digest;

use super::{Alarm, NotWatched};
use crate::{
    bundle::{NamesBlobs, blob_path},
    log::Log,
};

#[derive(Debug)]
pub(super) struct Mirror {
    folder: PathBuf,
}

impl Mirror {
    pub(super) fn open(folder: PathBuf) -> Result<Self, NotWatched> {
        for name in ["blobs", "checkpoints", "evidence", "tile/entries"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(failed("make", &path))?;
        }
        Ok(Self { folder })
    }

    pub(super) fn checkpoint(&self) -> Result<Option<Vec<u8>>, NotWatched> {
        let path = self.folder.join(CHECKPOINT);
        match fs::read(&path) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// The mirror as a log, also before it has a checkpoint.
    pub(super) fn log(&self) -> Log {
        Log::mirror(&self.folder)
    }

    /// Begins to copy entries from index `from` on, after those of the same bundle that are there.
    pub(super) fn copy(&self, from: u64) -> Result<Copy<'_>, NotWatched> {
        let mut copy = Copy { mirror: self, bundle: Vec::new(), next: from - from % u64::from(TILE_WIDTH) };
        let mut there = Vec::new();
        self.log().read(copy.next, from, |_, bytes| {
            there.push(bytes.to_vec());
            std::ops::ControlFlow::Continue(())
        })?;
        there.iter().try_for_each(|bytes| copy.append(bytes))?;
        Ok(copy)
    }

    /// Keeps the notes and blobs that an entry names, as far as the log gives them.
    pub(super) fn keep_named(&self, log: &Log, bytes: &[u8]) -> Result<(), NotWatched> {
        let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
        let body = &entry.body;
        let note = |size: u64, digest: &Digest| {
            let path = self.folder.join("checkpoints").join(size.to_string());
            if path.exists() {
                return Ok(());
            }
            let is_it = |note: &Vec<u8>| openssl::sha::sha256(note) == digest.0;
            match log.note(size)?.filter(is_it).or(log.blob(digest)?) {
                Some(note) => replace(&path, &note),
                None => Ok(()),
            }
        };
        let mut blobs = Vec::new();
        match (&entry.agent, entry.kind) {
            (None, Kind::Checkpoint) => {
                if let Ok(CheckpointBody { tree_size, note: digest }) = CheckpointBody::decode(body) {
                    note(tree_size, &digest)?;
                }
            }
            (_, Kind::Policy) => match PolicyBody::decode(body) {
                Ok(PolicyBody::Agent(policy)) => blobs = AgentPolicy::blobs(&policy),
                Ok(PolicyBody::Named(policy)) => blobs.extend(policy.content),
                Err(_) => {}
            },
            (Some(_), Kind::Enrol) => blobs = Enrol::decode(body).map(|body| body.blobs()).unwrap_or_default(),
            (Some(_), Kind::Quote) => {
                if let Ok(quote) = QuoteBody::decode(body) {
                    note(quote.beacon.tree_size, &quote.beacon.note_digest)?;
                    blobs = quote.blobs();
                }
            }
            (None, Kind::Timestamp) => {
                blobs = TimestampBody::decode(body).map(|body| vec![body.note, body.token]).unwrap_or_default();
            }
            (Some(_), Kind::Verdict) => blobs = Verdict::decode(body).map(|body| body.blobs()).unwrap_or_default(),
            _ => {}
        }
        for digest in blobs {
            let path = self.folder.join(blob_path(&digest));
            if !path.exists()
                && let Some(bytes) = log.blob(&digest)?
            {
                replace(&path, &bytes)?;
            }
        }
        Ok(())
    }

    /// Keeps a note that is proof against the log.
    pub(super) fn evidence(&self, name: &str, note: &[u8]) -> Result<(), NotWatched> {
        let digest = hex::encode(openssl::sha::sha256(note));
        let path = self.folder.join("evidence").join(format!("{name}-{}", digest.get(..16).unwrap_or_default()));
        replace(&path, note)
    }

    /// Adds alarms to those on record.
    pub(super) fn record(&self, alarms: &[Alarm]) -> Result<(), NotWatched> {
        if alarms.is_empty() {
            return Ok(());
        }
        let path = self.folder.join("alarms.jsonl");
        let mut lines = Vec::new();
        for alarm in alarms {
            serde_json::to_writer(&mut lines, alarm).map_err(io::Error::other).map_err(failed("write", &path))?;
            lines.push(b'\n');
        }
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(&lines).and_then(|()| file.sync_all()));
        written.map_err(failed("write", &path))
    }

    /// Takes a checkpoint over, all that it covers being on the disk.
    pub(super) fn publish(&self, note: &[u8]) -> Result<(), NotWatched> {
        replace(&self.folder.join(CHECKPOINT), note)
    }
}

/// Entries on their way into bundles.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    mirror: &'a Mirror,
    bundle: Vec<u8>,
    /// Index of the next entry.
    next: u64,
}

impl Copy<'_> {
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), NotWatched> {
        append_entry(&mut self.bundle, bytes)
            .map_err(io::Error::other)
            .map_err(failed("bundle an entry into", &self.mirror.folder))?;
        self.next += 1;
        if self.next.is_multiple_of(u64::from(TILE_WIDTH)) { self.write(TILE_WIDTH) } else { Ok(()) }
    }

    /// Writes the last bundle, which is partial.
    pub(super) fn finish(mut self) -> Result<(), NotWatched> {
        // A remainder below 256 fits.
        match u16::try_from(self.next % u64::from(TILE_WIDTH)) {
            Ok(width @ 1..) => self.write(width),
            _ => Ok(()),
        }
    }

    fn write(&mut self, width: u16) -> Result<(), NotWatched> {
        let bytes = std::mem::take(&mut self.bundle);
        let number = self.next.saturating_sub(1) / u64::from(TILE_WIDTH);
        let Ok(span) = TileSpan::new(number, width) else { return Ok(()) };
        replace(&self.mirror.folder.join(TilePath::Entries(span).to_string()), &bytes)
    }
}

/// Gives a file its content at once, durably.
fn replace(path: &Path, content: &[u8]) -> Result<(), NotWatched> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(failed("write", path))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NotWatched {
    move |source| NotWatched::Io { operation, path: path.to_owned(), source }
}

const CHECKPOINT: &str = "checkpoint";
