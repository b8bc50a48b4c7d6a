//! Check "blobs": evidence beside the log, named by its SHA-256.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use messages::Digest;

use crate::{
    bundle::{Bundle, blob_path},
    history::{Decoded, History},
    report::{Check, CheckName},
};

/// The blobs that came with the bundle and are what their names say.
pub(super) struct Blobs<'a> {
    read: Box<Reading<'a>>,
    kept: BTreeMap<Digest, Vec<u8>>,
}

/// How a blob is read; its digest is checked by the reader of this.
type Reading<'a> = dyn Fn(&Digest) -> Option<Vec<u8>> + 'a;

impl<'a> Blobs<'a> {
    /// Those that the history's enrolments, policies and verdicts name, from wherever `read` finds them.
    pub(super) fn of(history: &History, read: &'a Reading<'a>) -> Self {
        let mut blobs = Self { read: Box::new(read), kept: BTreeMap::new() };
        for entry in history.entries() {
            if !matches!(entry.body, Decoded::Enrol(_) | Decoded::Policy(_) | Decoded::Verdict(_)) {
                continue;
            }
            for digest in entry.body.blobs() {
                if !blobs.kept.contains_key(&digest)
                    && let Some(bytes) = blobs.load(&digest).map(Cow::into_owned)
                    && bytes.len() <= KEPT_BYTES_MAX
                {
                    blobs.kept.insert(digest, bytes);
                }
            }
        }
        blobs
    }

    /// A blob that is small enough to be kept in memory.
    pub(super) fn get(&self, digest: &Digest) -> Option<&[u8]> {
        self.kept.get(digest).map(Vec::as_slice)
    }

    /// A blob of any size, read again if need be.
    pub(super) fn load(&self, digest: &Digest) -> Option<Cow<'_, [u8]>> {
        if let Some(bytes) = self.get(digest) {
            return Some(Cow::Borrowed(bytes));
        }
        let bytes = (self.read)(digest)?;
        (Digest(openssl::sha::sha256(&bytes)) == *digest).then_some(Cow::Owned(bytes))
    }
}

/// Bytes of one blob that are kept for later checks: bindings and static policies are far below.
/// Larger ones, boot logs and measurement lists, are hashed, let go and read again where they are judged.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// 1. each blob hashes to its name; 2. an entry names it; 3. what an entry names is there, or was pruned.
pub(super) fn check<'a>(
    bundle: &'a Bundle,
    history: &History,
    stamped: impl Iterator<Item = Digest>,
) -> (Check, Blobs<'a>) {
    let mut check = Check::new(CheckName::Blobs);
    let named: BTreeSet<Digest> =
        history.entries().iter().flat_map(|entry| entry.body.blobs()).chain(stamped).collect();
    let listed: BTreeSet<Digest> = bundle.manifest().blobs.iter().copied().collect();
    let mut blobs = BTreeMap::new();
    for digest in &listed {
        check.examine();
        let name = blob_path(digest);
        match bundle.read(&name) {
            Err(problem) => check.refute(name, problem.to_string(), AGAIN),
            Ok(bytes) if Digest(openssl::sha::sha256(&bytes)) != *digest => {
                check.refute(name, format!("its SHA-256 is {}", Digest(openssl::sha::sha256(&bytes))), AGAIN);
            }
            Ok(_) if !named.contains(digest) => {
                check.refute(name, "no entry of the bundle names this blob", AGAIN);
            }
            Ok(bytes) if bytes.len() <= KEPT_BYTES_MAX => {
                blobs.insert(*digest, bytes);
            }
            Ok(_) => {}
        }
    }
    for digest in named.difference(&listed) {
        check.examine();
        let remedy = "ask the log's operator for the blob, or for the retention policy under which it was pruned";
        check.doubt(blob_path(digest), "an entry names this blob; the bundle does not have it", remedy);
    }
    (check, Blobs { read: Box::new(|digest| bundle.read(&blob_path(digest)).ok()), kept: blobs })
}

const AGAIN: &str = "get the bundle again from whoever exported it";
