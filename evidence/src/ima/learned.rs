//! Keys whose loading was measured and allowed, kept apart by what the kernel takes keys of their keyring for.

use super::keyring::{FileKey, KEYS_MAX, Keyring};
use super::list::DATA_BYTES_MAX;
use super::state::MalformedState;
use crate::reader::Reader;

/// The keys a list showed so far. None of them counts for anything but its own keyring's signatures.
#[derive(Clone, Debug, Default)]
pub(super) struct LearnedKeys {
    /// Of `.ima`: for signatures of files, those appended to modules among them.
    files: Keyring,
    /// Of `.evm`: for signatures of files' attributes.
    attributes: Keyring,
}

/// How many keys were known at some entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct LearnedCounts {
    files: usize,
    attributes: usize,
}

impl LearnedKeys {
    /// Takes a key that was loaded to a keyring; one of any other keyring signs nothing that is measured.
    pub(super) fn learn(&mut self, keyring: &[u8], key: FileKey) {
        match keyring {
            b".ima" | b"_ima" => drop(self.files.add(key)),
            b".evm" | b"_evm" => drop(self.attributes.add(key)),
            _ => (),
        }
    }

    /// Keys the kernel checks files' own signatures with.
    pub(super) const fn files(&self) -> &Keyring {
        &self.files
    }

    /// Keys the kernel checks EVM's signatures with.
    pub(super) const fn attributes(&self) -> &Keyring {
        &self.attributes
    }

    pub(super) fn counts(&self) -> LearnedCounts {
        LearnedCounts { files: self.files.keys().len(), attributes: self.attributes.keys().len() }
    }

    /// Forgets what was learned since these counts.
    pub(super) fn truncate(&mut self, counts: LearnedCounts) {
        self.files.truncate(counts.files);
        self.attributes.truncate(counts.attributes);
    }

    /// `count u32 | count × (length u32, DER)`, for `.ima` and then for `.evm`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        for keyring in [&self.files, &self.attributes] {
            out.extend_from_slice(&count(keyring.keys().len()));
            for key in keyring.keys() {
                out.extend_from_slice(&count(key.der().len()));
                out.extend_from_slice(key.der());
            }
        }
    }

    /// Reads back what [`encode`](Self::encode) wrote, or the first half of it, from before keys of `.evm` were learned.
    pub(super) fn decode(reader: &mut Reader<'_>, has_attributes: bool) -> Result<Self, MalformedState> {
        let files = keyring(reader)?;
        let attributes = if has_attributes { keyring(reader)? } else { Keyring::default() };
        Ok(Self { files, attributes })
    }
}

fn keyring(reader: &mut Reader<'_>) -> Result<Keyring, MalformedState> {
    let mut keyring = Keyring::default();
    for _ in 0..reader.count("learned keys", KEYS_MAX)? {
        let length = reader.count("learned key", KEY_BYTES_MAX)?;
        let der = reader.take("learned key", length)?;
        keyring.add(FileKey::from_der(der).map_err(|source| MalformedState::Key { source })?);
    }
    Ok(keyring)
}

/// A key was in an entry.
const KEY_BYTES_MAX: usize = DATA_BYTES_MAX;
