//! For tests: the disk as a power cut may leave it, made from what a process did to its files.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::faults::Event;

/// What a disk may hold after a power cut: names and bytes that were synced, and of the rest any
/// part, for each file and each folder another one.
#[derive(Debug, Default)]
pub(crate) struct PowerCut {
    files: Vec<Contents>,
    /// A kind of sync that this disk takes no notice of.
    lost: Option<LostSync>,
    /// By folder: changes of names that are not synced yet, oldest first.
    loose: BTreeMap<PathBuf, Vec<NameChange>>,
    /// Names as the process sees them.
    seen: BTreeMap<PathBuf, Node>,
    /// Names as they are on the disk for certain.
    sure: BTreeMap<PathBuf, Node>,
}

/// A kind of sync that a disk, or a change to the program, may leave out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LostSync {
    /// Of batches in segments that have their name.
    Batches,
    /// Of the bytes of files in the folder of this name.
    Bytes(&'static str),
    /// Of the names in the folder of this name.
    Names(&'static str),
    /// Of the bytes of blobs.
    BlobBytes,
    /// Of the names in the folders of blobs, of which there are 256.
    BlobNames,
}

impl LostSync {
    fn takes(self, event: &Event) -> bool {
        match (self, event) {
            (Self::Batches, Event::Sync(path)) => path.extension().is_some_and(|end| end == "seg"),
            (Self::BlobBytes, Event::Sync(path)) => {
                path.parent().and_then(Path::parent).is_some_and(|blobs| blobs.ends_with("blobs"))
            }
            (Self::Bytes(folder), Event::Sync(path)) => path.parent().is_some_and(|parent| parent.ends_with(folder)),
            (Self::Names(folder), Event::SyncFolder(path)) => path.ends_with(folder),
            (Self::BlobNames, Event::SyncFolder(path)) => path.parent().is_some_and(|parent| parent.ends_with("blobs")),
            _ => false,
        }
    }
}

/// How much of what was not synced arrives.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    /// All of it.
    All,
    /// Nothing.
    Nothing,
    /// Of the changes to each file and each folder a first part, the last write perhaps torn.
    Prefix(&'a mut Chance),
    /// Any of the changes, each whole, torn or not at all.
    Subset(&'a mut Chance),
}

/// Numbers by chance, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        chance.below(1);
        chance
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}

impl Arrival<'_> {
    /// Of each of so many changes, whether it arrives: not, torn, or whole.
    fn arriving(&mut self, changes: usize) -> Vec<Part> {
        match self {
            Self::All => vec![Part::Whole; changes],
            Self::Nothing => vec![Part::Nothing; changes],
            Self::Prefix(chance) => {
                let arrived = chance.below(2 * changes + 1);
                let mut parts = vec![Part::Whole; arrived / 2];
                parts.extend((arrived % 2 == 1).then_some(Part::Torn));
                parts.resize(changes, Part::Nothing);
                parts
            }
            Self::Subset(chance) => {
                let part = |_| match chance.below(6) {
                    0 | 1 => Part::Nothing,
                    2 => Part::Torn,
                    3 => Part::Holed,
                    _ => Part::Whole,
                };
                (0..changes).map(part).collect()
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    /// The second half has arrived and the first has not.
    Holed,
    Nothing,
    Torn,
    Whole,
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
    /// An empty disk that takes no notice of some syncs.
    pub(crate) fn losing(lost: Option<LostSync>) -> Self {
        Self { lost, ..Self::default() }
    }

    pub(crate) fn follow(&mut self, event: &Event) {
        if self.lost.is_some_and(|lost| lost.takes(event)) {
            return;
        }
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
            Event::Secret(path, bytes) => {
                // Synced by its own means, down to the name.
                let number = self.create(path);
                if let Some(contents) = self.files.get_mut(number) {
                    contents.sure.clone_from(bytes);
                }
                self.follow(&Event::SyncFolder(path.parent().unwrap_or(path).to_owned()));
            }
            Event::Sync(path) => {
                if let Some(contents) = self.contents(path) {
                    let changes = std::mem::take(&mut contents.loose);
                    changes.iter().for_each(|change| change.apply(&mut contents.sure));
                }
            }
            Event::SyncFolder(path) => self.sync_names(path),
            Event::Write { path, bytes, offset } => self.change(path, Change::Write(*offset, bytes.clone())),
        }
    }

    fn sync_names(&mut self, folder: &Path) {
        for change in self.loose.remove(folder).unwrap_or_default() {
            change.apply(&mut self.sure);
        }
    }

    /// Writes what may be left to a folder: names below `from` come to lie below `to`.
    pub(crate) fn strike(&self, from: &Path, to: &Path, mut arrival: Arrival<'_>) -> io::Result<()> {
        let mut names = self.sure.clone();
        for changes in self.loose.values() {
            let parts = arrival.arriving(changes.len());
            // A name is there or not, never half.
            let arrived = changes.iter().zip(parts).filter(|(_, part)| *part == Part::Whole);
            arrived.for_each(|(change, _)| change.apply(&mut names));
        }
        let mut contents = Vec::new();
        for file in &self.files {
            let mut bytes = file.sure.clone();
            let parts = arrival.arriving(file.loose.len());
            file.loose.iter().zip(parts).for_each(|(change, part)| change.arrive(part, &mut bytes));
            contents.push(bytes);
        }
        std::fs::create_dir_all(to)?;
        for (path, node) in &names {
            let Ok(relative) = path.strip_prefix(from) else {
                continue;
            };
            let target = to.join(relative);
            // What is in a folder whose own name did not arrive is lost with it.
            if !target.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match node {
                Node::Folder => std::fs::create_dir(target)?,
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
    fn arrive(&self, part: Part, bytes: &mut Vec<u8>) {
        match (part, self) {
            (Part::Nothing, _) | (Part::Holed | Part::Torn, Self::Cut(_)) => {}
            (Part::Whole, _) => self.apply(bytes),
            (Part::Torn, Self::Write(offset, written)) => {
                let (first, _) = written.split_at(written.len() / 2);
                Self::Write(*offset, first.to_vec()).apply(bytes);
            }
            (Part::Holed, Self::Write(offset, written)) => {
                let (first, second) = written.split_at(written.len() / 2);
                Self::Write(offset + first.len() as u64, second.to_vec()).apply(bytes);
            }
        }
    }

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
