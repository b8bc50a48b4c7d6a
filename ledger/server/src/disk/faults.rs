//! For tests: fails or stops at any operation, and remembers all of them, so that a power cut can
//! be played that forgets what was not synced.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    Sync(PathBuf),
    SyncFolder(PathBuf),
    Write {
        path: PathBuf,
        bytes: Vec<u8>,
        offset: u64,
    },
}

/// How operations fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
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
    | Operation::SyncFolder(path)) = operation;
    let Some(disk) = watching(path) else {
        return Ok(());
    };
    drop(lock(&disk.gate));
    let mut state = lock(&disk.state);
    state.strike(|| format!("{operation:?}"))?;
    let owned = Path::to_owned;
    state.events.extend(match operation {
        Operation::Create(path) => Some(Event::Create(owned(path))),
        Operation::CreateFolder(path) => Some(Event::CreateFolder(owned(path))),
        Operation::Cut(path, length) => Some(Event::Cut(owned(path), length)),
        Operation::Remove(path) => Some(Event::Remove(owned(path))),
        Operation::Rename(from, to) => Some(Event::Rename(owned(from), owned(to))),
        Operation::Open(_) | Operation::Sync(_) | Operation::SyncFolder(_) => None,
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
        match &mut self.armed {
            None => return Ok(()),
            Some((left, _)) if *left > 0 => {
                *left -= 1;
                return Ok(());
            }
            Some((_, Fault::Stop)) => {}
            Some((_, Fault::Once)) => self.armed = None,
        }
        self.struck.get_or_insert_with(what);
        Err(io::Error::other("a failure made by the test"))
    }
}

fn watching(path: &Path) -> Option<Arc<Disk>> {
    lock(&DISKS).iter().find(|disk| path.starts_with(&disk.folder)).cloned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static DISKS: Mutex<Vec<Arc<Disk>>> = Mutex::new(Vec::new());

/// What a disk may hold after a power cut: names and bytes that were synced, and of the rest
/// some prefix, for each file and each folder another one.
#[derive(Debug, Default)]
pub(crate) struct PowerCut {
    files: Vec<Contents>,
    /// By folder: changes of names that are not synced yet, oldest first.
    loose: BTreeMap<PathBuf, Vec<NameChange>>,
    /// Names as the process sees them.
    seen: BTreeMap<PathBuf, Node>,
    /// Names as they are on the disk for certain.
    sure: BTreeMap<PathBuf, Node>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    File(usize),
    Folder,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Debug, Default)]
struct Contents {
    loose: Vec<Change>,
    sure: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Cut(u64),
    Write(u64, Vec<u8>),
}

impl PowerCut {
    /// A disk on which everything below `folder` is synced.
    pub(crate) fn starting_from(folder: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        disk.take(folder)?;
        disk.sure.clone_from(&disk.seen);
        Ok(disk)
    }

    fn take(&mut self, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.seen.insert(path.clone(), Node::Folder);
                self.take(&path)?;
            } else {
                self.seen.insert(path.clone(), Node::File(self.files.len()));
                self.files.push(Contents { loose: Vec::new(), sure: std::fs::read(&path)? });
            }
        }
        Ok(())
    }

    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::Create(path) => drop(self.create(path)),
            Event::CreateFolder(path) => {
                self.seen.insert(path.clone(), Node::Folder);
                self.loosen(path, NameChange::Add(path.clone(), Node::Folder));
            }
            Event::Cut(path, length) => self.change(path, Change::Cut(*length)),
            Event::Told(_) => {}
            Event::Remove(path) => {
                self.seen.remove(path);
                self.loosen(path, NameChange::Remove(path.clone()));
            }
            Event::Rename(from, to) => {
                if let Some(node) = self.seen.remove(from) {
                    self.seen.insert(to.clone(), node);
                    self.loosen(to, NameChange::Rename(from.clone(), to.clone(), node));
                }
            }
            Event::Sync(path) => {
                if let Some(contents) = self.contents(path) {
                    let changes = std::mem::take(&mut contents.loose);
                    changes.iter().for_each(|change| change.apply(&mut contents.sure));
                }
            }
            Event::SyncFolder(path) => {
                for change in self.loose.remove(path).unwrap_or_default() {
                    change.apply(&mut self.sure);
                }
            }
            Event::Write { path, bytes, offset } => self.change(path, Change::Write(*offset, bytes.clone())),
        }
    }

    /// Writes what may be left to a folder: names below `from` come to lie below `to`. `keep`
    /// picks, of so many changes that were not synced, how many arrived.
    pub(crate) fn strike(&self, from: &Path, to: &Path, mut keep: impl FnMut(usize) -> usize) -> io::Result<()> {
        let mut names = self.sure.clone();
        for changes in self.loose.values() {
            let arrived = keep(changes.len());
            changes.iter().take(arrived).for_each(|change| change.apply(&mut names));
        }
        let contents: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|file| {
                let mut bytes = file.sure.clone();
                // Of a write that was on its way any part may have arrived.
                let arrived = keep(2 * file.loose.len());
                file.loose.iter().take(arrived / 2).for_each(|change| change.apply(&mut bytes));
                if let (1, Some(Change::Write(offset, torn))) = (arrived % 2, file.loose.get(arrived / 2)) {
                    let (first, _) = torn.split_at(torn.len() / 2);
                    Change::Write(*offset, first.to_vec()).apply(&mut bytes);
                }
                bytes
            })
            .collect();
        std::fs::create_dir_all(to)?;
        for (path, node) in &names {
            let Ok(relative) = path.strip_prefix(from) else {
                continue;
            };
            let target = to.join(relative);
            match node {
                Node::Folder => std::fs::create_dir_all(target)?,
                // A file in a folder whose own name did not arrive is lost with it.
                Node::File(_) if !target.parent().is_some_and(Path::is_dir) => {}
                Node::File(number) => {
                    let mut options = std::fs::OpenOptions::new();
                    let mut file = options.write(true).create_new(true).mode(0o600).open(target)?;
                    file.write_all(contents.get(*number).map_or(&[][..], Vec::as_slice))?;
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, path: &Path) -> usize {
        let number = self.files.len();
        self.files.push(Contents::default());
        self.seen.insert(path.to_owned(), Node::File(number));
        self.loosen(path, NameChange::Add(path.to_owned(), Node::File(number)));
        number
    }

    fn change(&mut self, path: &Path, change: Change) {
        if !self.seen.contains_key(path) {
            self.create(path);
        }
        if let Some(contents) = self.contents(path) {
            contents.loose.push(change);
        }
    }

    fn contents(&mut self, path: &Path) -> Option<&mut Contents> {
        match self.seen.get(path)? {
            Node::File(number) => self.files.get_mut(*number),
            Node::Folder => None,
        }
    }

    fn loosen(&mut self, path: &Path, change: NameChange) {
        let folder = path.parent().unwrap_or(path).to_owned();
        self.loose.entry(folder).or_default().push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Cut(length) => bytes.truncate(usize::try_from(*length).unwrap_or(usize::MAX)),
            Self::Write(offset, written) => {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                let end = start + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(start..end) {
                    place.copy_from_slice(written);
                }
            }
        }
    }
}
