//! The log's name and the keys that sign its checkpoints.
//!
//! One key is the log's own, `log.key`, Ed25519 or P-256; everything here is verified with it. Others
//! may sign beside it, each with a line of its own below: `log.ed25519.key`, `log.p256.key` and
//! `log.mldsa44.key`.

use std::io;
use std::path::{Path, PathBuf};

use ledger_keys::{KeyFileError, KeyFiles, KeyType, public_line};
use ledger_tlog::checkpoint::{Checkpoint, CheckpointNotSigned};
use ledger_tlog::key::{KeyName, MalformedKey, NoteVerifier, PosixSeconds};
use ledger_tlog::note::Note;
use ledger_tlog::signer::{Cosigner, MalformedSigner, NoteSigner};
use messages::{Digest, UnixMillis};
use openssl::error::ErrorStack;

use crate::engine::{Folders, LogConfig, OpenError, folders};
use crate::folder::Folder;
use crate::lock::{FileLock, LOCK_FOLDER, LockError};
use crate::ownership::{Ownership, OwnershipError};
use crate::{disk, entropy};

/// Who the log is: its origin, its keys and what verifies them.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Its lines come after the others: it says when.
    cosigner: Option<Cosigner>,
    /// Sign beside the log's own key, in the order of their lines.
    further: Vec<NoteSigner>,
    signer: NoteSigner,
}

/// Why a log has no usable key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// openssl made no name.
    #[error("cannot make up a name")]
    Generate(#[source] ErrorStack),
    /// A key's files are not usable.
    #[error("the log's key is not usable")]
    Key(#[source] KeyFileError),
    /// The name asked for is no key name.
    #[error("the origin {origin:?} cannot name a key")]
    Origin {
        /// The name.
        origin: String,
        /// What is wrong.
        source: MalformedKey,
    },
    /// The log has another name than the one asked for.
    #[error("the log in this folder is {found:?}, not {expected:?}; name another folder or the log's own origin")]
    OtherOrigin {
        /// The name asked for.
        expected: String,
        /// The log's name.
        found: String,
    },
    /// The key beside the log's own has another name.
    #[error("{file} is a key of {found:?}; expected one of {expected:?}")]
    OtherName {
        /// The verifier key's file.
        file: String,
        /// The log's name.
        expected: String,
        /// The name there.
        found: String,
    },
    /// A verifier key's file was not written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key that was made cannot sign.
    #[error("the key that was made cannot be used")]
    Unusable(#[source] MalformedSigner),
}

/// Why a log's keys were not made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The first key is not one that every reader verifies.
    #[error("a log's own key is ed25519 or p256, not {found}; name one of these first")]
    First {
        /// The type named first.
        found: KeyType,
    },
    /// The keys of the folder are not usable or were not written.
    #[error("the log's keys were not made")]
    Identity(#[source] IdentityError),
    /// A folder cannot be looked into.
    #[error("cannot list {path}", path = path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log's lock was not made.
    #[error("the log's lock was not made")]
    Lock(#[source] LockError),
    /// The folder cannot be used.
    #[error("the log's folder cannot be used")]
    Open(#[source] OpenError),
    /// A process works there.
    #[error("the log's folder is in use")]
    Ownership(#[source] OwnershipError),
}

/// Makes the keys of a log without serving it, and its lock: the first of `kinds` is the log's own,
/// Ed25519 if there is none. A log that is there keeps the keys it has and gets those of `kinds` it has
/// not.
///
/// Returns the verifier keys in the order of their lines. The log must not be running.
///
/// # Errors
/// [`InitError`].
pub fn init(config: &LogConfig, kinds: &[KeyType]) -> Result<Vec<NoteVerifier>, InitError> {
    let (path, origin) = (config.path.as_path(), config.origin.as_deref());
    let Folders { root, segments, .. } = folders(path, true).map_err(InitError::Open)?;
    let _ownership = Ownership::take(path).map_err(InitError::Ownership)?;
    let entries = segments.names().map_err(|source| InitError::List { path: segments.path().to_owned(), source })?;
    let (first, further) = kinds.split_first().unwrap_or((&KeyType::Ed25519, &[]));
    let identity = if own_files(path).exist() || !entries.is_empty() {
        let identity = Identity::load(path).map_err(InitError::Identity)?;
        identity.expect_origin(origin).map_err(InitError::Identity)?;
        identity.make_further(&root, kinds).map_err(InitError::Identity)?;
        Identity::load(path)
    } else {
        if *first == KeyType::MlDsa44 {
            return Err(InitError::First { found: *first });
        }
        // As at a first start: a log that has its verifier key has its lock.
        let lock = config.lock.clone().unwrap_or_else(|| root.file(LOCK_FOLDER));
        let _lock = FileLock::create(&lock).map_err(InitError::Lock)?;
        Identity::make(&root, origin, *first, further)
    };
    Ok(identity.map_err(InitError::Identity)?.verifiers().cloned().collect())
}

impl Identity {
    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        self.verifier().name().as_str()
    }

    /// What a segment's header carries of the name.
    pub(crate) fn origin_digest(&self) -> Digest {
        origin_digest(self.origin())
    }

    /// The log's own verifier key as text.
    pub(crate) fn vkey(&self) -> String {
        self.verifier().to_string()
    }

    /// The log's own verifier key.
    pub(crate) const fn verifier(&self) -> &NoteVerifier {
        self.signer.verifier()
    }

    /// All verifier keys, in the order of their lines.
    fn verifiers(&self) -> impl Iterator<Item = &NoteVerifier> {
        let further = self.further.iter().map(NoteSigner::verifier);
        std::iter::once(self.verifier()).chain(further).chain(self.cosigner.as_ref().map(Cosigner::verifier))
    }

    /// The checkpoint as a note with a line of each key.
    ///
    /// # Errors
    /// [`CheckpointNotSigned`].
    pub(crate) fn sign(&self, checkpoint: &Checkpoint, now: UnixMillis) -> Result<Note, CheckpointNotSigned> {
        let mut note = checkpoint.sign(&self.signer)?;
        let failed = |source| CheckpointNotSigned::Signature { source };
        for signer in &self.further {
            note.sign(signer).map_err(failed)?;
        }
        if let Some(cosigner) = &self.cosigner {
            note.cosign(cosigner, PosixSeconds(now.0 / 1_000)).map_err(failed)?;
        }
        Ok(note)
    }

    /// Reads the keys of the log in `folder`.
    pub(crate) fn load(folder: &Path) -> Result<Self, IdentityError> {
        let signer = own_files(folder).signer().map_err(IdentityError::Key)?;
        let mut identity = Self { cosigner: None, further: Vec::new(), signer };
        for kind in [KeyType::Ed25519, KeyType::P256] {
            let files = further_files(folder, kind);
            if files.exist() {
                let signer = files.signer().map_err(IdentityError::Key)?;
                identity.expect_name(&files, signer.verifier())?;
                identity.further.push(signer);
            }
        }
        let files = further_files(folder, KeyType::MlDsa44);
        if files.exist() {
            let cosigner = files.cosigner().map_err(IdentityError::Key)?;
            identity.expect_name(&files, cosigner.verifier())?;
            identity.cosigner = Some(cosigner);
        }
        Ok(identity)
    }

    /// Makes a key for a new log; `origin` is made up from chance if none is given. A key that an
    /// interrupted start has left without its verifier key is replaced: nothing was signed with it.
    pub(crate) fn create(folder: &Folder, origin: Option<&str>) -> Result<Self, IdentityError> {
        Self::make(folder, origin, KeyType::Ed25519, &[])
    }

    /// The log's own key comes last: where it is, there is a log.
    fn make(folder: &Folder, origin: Option<&str>, own: KeyType, further: &[KeyType]) -> Result<Self, IdentityError> {
        let origin = match origin {
            Some(origin) => origin.to_owned(),
            None => format!("attestry.local/{}", entropy::tag().map_err(IdentityError::Generate)?),
        };
        let name = KeyName::new(&origin).map_err(|source| IdentityError::Origin { origin, source })?;
        for kind in further.iter().filter(|kind| **kind != own) {
            make_files(folder, &further_files(folder.path(), *kind), &name, *kind)?;
        }
        make_files(folder, &own_files(folder.path()), &name, own)?;
        Self::load(folder.path())
    }

    fn make_further(&self, folder: &Folder, kinds: &[KeyType]) -> Result<(), IdentityError> {
        let name = self.verifier().name();
        for kind in kinds {
            let files = further_files(folder.path(), *kind);
            if KeyType::of(self.verifier()) != Some(*kind) && !files.exist() {
                make_files(folder, &files, name, *kind)?;
            }
        }
        Ok(())
    }

    /// Refuses another name than the one asked for.
    pub(crate) fn expect_origin(&self, expected: Option<&str>) -> Result<(), IdentityError> {
        match expected {
            Some(expected) if expected != self.origin() => {
                let (expected, found) = (expected.to_owned(), self.origin().to_owned());
                Err(IdentityError::OtherOrigin { expected, found })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn expect_name(&self, files: &KeyFiles, key: &NoteVerifier) -> Result<(), IdentityError> {
        if key.name() == self.verifier().name() {
            return Ok(());
        }
        let (expected, found) = (self.origin().to_owned(), key.name().to_string());
        Err(IdentityError::OtherName { file: files.public_name(), expected, found })
    }
}

fn make_files(folder: &Folder, files: &KeyFiles, name: &KeyName, kind: KeyType) -> Result<(), IdentityError> {
    let key = kind.generate().map_err(IdentityError::Key)?;
    let path = folder.file(&files.private_name());
    disk::write_secret(&path, || files.write_private(&key), KeyFileError::Write).map_err(IdentityError::Key)?;
    let verifier = match kind {
        KeyType::Ed25519 | KeyType::P256 => NoteSigner::new(name.clone(), key).map(|made| made.verifier().clone()),
        KeyType::MlDsa44 => Cosigner::new(name.clone(), key).map(|made| made.verifier().clone()),
    };
    let line = public_line(&verifier.map_err(IdentityError::Unusable)?);
    let written = folder.replace(&files.public_name(), line.as_bytes());
    written.map_err(|source| IdentityError::Write { path: folder.file(&files.public_name()), source })
}

fn own_files(folder: &Path) -> KeyFiles {
    KeyFiles::new(folder, "log")
}

fn further_files(folder: &Path, kind: KeyType) -> KeyFiles {
    KeyFiles::new(folder, &format!("log.{kind}"))
}

/// Reads the log's own verifier key.
pub(crate) fn load_verifier(folder: &Path) -> Result<NoteVerifier, IdentityError> {
    own_files(folder).verifier().map_err(IdentityError::Key)
}

/// What a segment's header carries of the log's name.
pub(crate) fn origin_digest(origin: &str) -> Digest {
    Digest(openssl::sha::sha256(origin.as_bytes()))
}

/// The private key, PKCS#8 in PEM.
pub(crate) const KEY_FILE: &str = "log.key";

/// The verifier key, one line.
pub(crate) const VKEY_FILE: &str = "log.vkey";
