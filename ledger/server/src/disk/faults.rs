//! For tests: fails, stops or kills the process at any operation, and remembers all of them, so that
//! a [power cut](super::power_cut) can be played that forgets what was not synced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is about to be done.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    Create(&'a Path),
    CreateFolder(&'a Path),
    Cut(&'a Path, u64),
    Open(&'a Path),
    Remove(&'a Path),
    Rename(&'a Path, &'a Path),
    Sync(&'a Path),
    SyncFolder(&'a Path),
    WriteSecret(&'a Path),
}

/// What was done, in its order; syncs when they were complete.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Create(PathBuf),
    CreateFolder(PathBuf),
    Cut(PathBuf, u64),
    /// Something that the test was told at this point.
    Told(usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Secret(PathBuf, Vec<u8>),
    Sync(PathBuf),
    SyncFolder(PathBuf),
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
        offset: u64,
    },
}

impl Event {
    /// The event in one line, names below `folder` without it.
    pub(crate) fn in_short(&self, folder: &Path) -> String {
        let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
        match self {
            Self::Create(path) => format!("create {}", name(path)),
            Self::CreateFolder(path) => format!("create folder {}", name(path)),
            Self::Cut(path, length) => format!("cut {} at {length}", name(path)),
            Self::Told(what) => format!("told {what}"),
            Self::Remove(path) => format!("remove {}", name(path)),
            Self::Rename(from, to) => format!("rename {} to {}", name(from), name(to)),
            Self::Secret(path, bytes) => format!("secret {}, {} bytes, durable", name(path), bytes.len()),
            Self::Sync(path) => format!("sync {}", name(path)),
            Self::SyncFolder(path) => format!("sync folder {}", name(path)),
            Self::Write { path, bytes, offset } => {
                format!("write {}, {} bytes at {offset}", name(path), bytes.len())
            }
        }
    }
}

/// How operations fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The process ends here and now, without a destructor or a buffer written.
    Abort,
    /// This one fails for want of room, those after it do not.
    Full,
    /// This one fails, those after it do not.
    Once,
    /// This one and all after it fail, as if the process had been killed: nothing more arrives.
    Stop,
}

/// Watches the files below a folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Watched(Arc<Disk>);

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    /// Held while the disk stalls.
    gate: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Operations until the fault, and the fault.
    armed: Option<(usize, Fault)>,
    events: Vec<Event>,
    /// The operation that failed first.
    struck: Option<String>,
}

impl Watched {
    pub(crate) fn new(folder: &Path) -> Self {
        let disk = Arc::new(Disk { folder: folder.to_owned(), gate: Mutex::default(), state: Mutex::default() });
        lock(&DISKS).push(Arc::clone(&disk));
        Self(disk)
    }

    /// Lets the operation with this number, counted from now on, fail.
    pub(crate) fn arm(&self, number: usize, fault: Fault) {
        lock(&self.0.state).armed = Some((number, fault));
    }

    /// From now on nothing fails.
    pub(crate) fn disarm(&self) {
        let mut state = lock(&self.0.state);
        (state.armed, state.struck) = (None, None);
    }

    /// Lets every operation wait until what this returns is dropped.
    pub(crate) fn stall(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.gate)
    }

    /// The operation that failed first.
    pub(crate) fn struck(&self) -> Option<String> {
        lock(&self.0.state).struck.clone()
    }

    /// Notes that the test was told `what`.
    pub(crate) fn told(&self, what: usize) {
        lock(&self.0.state).events.push(Event::Told(what));
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        lock(&self.0.state).events.clone()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&DISKS).retain(|disk| !Arc::ptr_eq(disk, &self.0));
    }
}

pub(super) fn before(operation: Operation<'_>) -> io::Result<()> {
    let (Operation::Create(path)
    | Operation::CreateFolder(path)
    | Operation::Cut(path, _)
    | Operation::Open(path)
    | Operation::Remove(path)
    | Operation::Rename(path, _)
    | Operation::Sync(path)
    | Operation::SyncFolder(path)
    | Operation::WriteSecret(path)) = operation;
    let Some(disk) = watching(path) else {
        return Ok(());
    };
    drop(lock(&disk.gate));
    let mut state = lock(&disk.state);
    if let Err(error) = state.strike(|| format!("{operation:?}")) {
        state.kill();
        return Err(error);
    }
    let owned = Path::to_owned;
    state.events.extend(match operation {
        Operation::Create(path) => Some(Event::Create(owned(path))),
        Operation::CreateFolder(path) => Some(Event::CreateFolder(owned(path))),
        Operation::Cut(path, length) => Some(Event::Cut(owned(path), length)),
        Operation::Remove(path) => Some(Event::Remove(owned(path))),
        Operation::Rename(from, to) => Some(Event::Rename(owned(from), owned(to))),
        Operation::Open(_) | Operation::Sync(_) | Operation::SyncFolder(_) | Operation::WriteSecret(_) => None,
    });
    Ok(())
}

pub(super) fn synced(path: &Path) {
    if let Some(disk) = watching(path) {
        lock(&disk.state).events.push(Event::Sync(path.to_owned()));
    }
}

pub(super) fn folder_synced(path: &Path) {
    if let Some(disk) = watching(path) {
        lock(&disk.state).events.push(Event::SyncFolder(path.to_owned()));
    }
}

pub(super) fn secret_written(path: &Path) {
    if let Some(disk) = watching(path) {
        let secret = std::fs::read(path).unwrap_or_default();
        lock(&disk.state).events.push(Event::Secret(path.to_owned(), secret));
    }
}

/// Half of a write has arrived: ends the process if it is to end there.
pub(super) fn half_written(path: &Path) {
    if let Some(disk) = watching(path) {
        lock(&disk.state).kill();
    }
}

/// The part of a write that arrives, and its error, if it is to fail.
pub(super) fn torn<'a>(path: &Path, bytes: &'a [u8], offset: u64) -> Option<(&'a [u8], io::Error)> {
    let disk = watching(path)?;
    let mut state = lock(&disk.state);
    let stopped = state.struck.is_some();
    let failed = state.strike(|| format!("Write({path:?})")).err();
    let (arrives, _) = bytes.split_at(match (&failed, stopped) {
        (None, _) => bytes.len(),
        (Some(_), false) => bytes.len() / 2,
        (Some(_), true) => 0,
    });
    state.events.push(Event::Write { path: path.to_owned(), bytes: arrives.to_vec(), offset });
    failed.map(|error| (arrives, error))
}

impl State {
    fn strike(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        let failure = match &mut self.armed {
            None => return Ok(()),
            Some((left, _)) if *left > 0 => {
                *left -= 1;
                return Ok(());
            }
            Some((_, Fault::Stop | Fault::Abort)) => io::Error::other(FAILURE),
            Some((_, Fault::Full)) => {
                self.armed = None;
                io::ErrorKind::StorageFull.into()
            }
            Some((_, Fault::Once)) => {
                self.armed = None;
                io::Error::other(FAILURE)
            }
        };
        self.struck.get_or_insert_with(what);
        Err(failure)
    }

    fn kill(&self) {
        if matches!(self.armed, Some((0, Fault::Abort))) {
            if let Some(struck) = &self.struck {
                eprintln!("killed at {struck}");
            }
            std::process::abort();
        }
    }
}

fn watching(path: &Path) -> Option<Arc<Disk>> {
    lock(&DISKS).iter().find(|disk| path.starts_with(&disk.folder)).cloned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FAILURE: &str = "a failure made by the test";

static DISKS: Mutex<Vec<Arc<Disk>>> = Mutex::new(Vec::new());
