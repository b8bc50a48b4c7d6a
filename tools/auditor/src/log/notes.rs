//! The checkpoints that a log keeps, and the time-stamps on them.

use std::fs;
use std::path::Path;

use ledger_timestamp::TimestampResponse;
use messages::cbor;

use super::{Log, LogUnreadable, Place, read};
use crate::ledger::LedgerUnavailable;

impl Log {
    /// The note of the published checkpoint of a size, if it is kept here.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub fn note(&self, size: u64) -> Result<Option<Vec<u8>>, LogUnreadable> {
        match &self.0 {
            Place::Data(path, _) | Place::Tiles(path) => read_note(path, size),
            Place::Ledger(ledger) => match ledger.kept_checkpoint(size) {
                Err(LedgerUnavailable::Status { status: 404, .. }) => Ok(None),
                answer => Ok(answer.map(Some)?),
            },
        }
    }

    /// The smallest size of a kept checkpoint from one size to another.
    pub(crate) fn kept_size(&self, from: u64, to: u64) -> Result<Option<u64>, LogUnreadable> {
        match &self.0 {
            Place::Ledger(ledger) => {
                let path = format!("/ledger/v1/checkpoints?from={from}&to={to}");
                let Some(bytes) = ledger.api(&path, SIZES_BYTES_MAX)? else { return Ok(None) };
                let sizes: Vec<u64> = cbor::decode(&bytes).unwrap_or_default();
                Ok(sizes.into_iter().filter(|size| (from..=to).contains(size)).min())
            }
            Place::Data(path, _) | Place::Tiles(path) => {
                let folder = path.join("checkpoints");
                let mut sizes = sizes_in(&folder);
                for first in names_in(&folder).iter().filter(|name| name.len() == SHARD_DIGITS) {
                    sizes.extend(sizes_in(&folder.join(first)));
                }
                Ok(sizes.into_iter().filter(|size| (from..=to).contains(size)).min())
            }
        }
    }

    /// Sizes of checkpoints of which the log keeps time-stamps, ascending, as far as it can be asked for them.
    pub(crate) fn stamped_sizes(&self) -> Vec<u64> {
        match &self.0 {
            Place::Ledger(_) => Vec::new(),
            Place::Data(path, _) | Place::Tiles(path) => {
                let mut sizes = sizes_in(&path.join(STAMPS));
                sizes.sort_unstable();
                sizes
            }
        }
    }

    /// The RFC 3161 tokens (DER) on the checkpoint of a size that are kept as files, by their authorities' names.
    /// An answer that holds none is left out: whoever verifies a proof sees what is in it.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub(crate) fn tokens(&self, size: u64) -> Result<Vec<Vec<u8>>, LogUnreadable> {
        let mut answers = Vec::new();
        match &self.0 {
            Place::Ledger(ledger) => {
                let listed = ledger.api(&format!("/ledger/v1/timestamps/{size}"), SIZES_BYTES_MAX)?;
                let names: Vec<String> = listed.and_then(|bytes| cbor::decode(&bytes).ok()).unwrap_or_default();
                let plain =
                    |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
                for name in names.iter().filter(|name| name.ends_with(ANSWER)).filter(plain) {
                    answers.extend(ledger.api(&format!("/ledger/v1/timestamps/{size}/{name}"), ANSWER_BYTES_MAX)?);
                }
            }
            Place::Data(path, _) | Place::Tiles(path) => {
                let folder = path.join(STAMPS).join(size.to_string());
                let mut names = names_in(&folder);
                names.sort_unstable();
                for name in names.iter().filter(|name| name.ends_with(ANSWER) && !name.starts_with('.')) {
                    answers.extend(read(&folder.join(name))?);
                }
            }
        }
        let token = |answer: Vec<u8>| TimestampResponse::parse(&answer).ok()?.into_token().ok();
        Ok(answers.into_iter().filter_map(token).map(|token| token.to_der().to_vec()).collect())
    }
}

/// A note in `checkpoints/`: in a ledger's directory those beyond 4,096 are in folders by their first size.
fn read_note(path: &Path, size: u64) -> Result<Option<Vec<u8>>, LogUnreadable> {
    let folder = path.join("checkpoints");
    if let Some(note) = read(&folder.join(size.to_string()))? {
        return Ok(Some(note));
    }
    let before = |name: &String| name.len() == SHARD_DIGITS && name.parse::<u64>().is_ok_and(|first| first <= size);
    match names_in(&folder).into_iter().filter(before).max() {
        Some(name) => read(&folder.join(name).join(size.to_string())),
        None => Ok(None),
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(listed) = fs::read_dir(folder) else { return Vec::new() };
    listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn sizes_in(folder: &Path) -> Vec<u64> {
    let size = |name: String| name.parse::<u64>().ok().filter(|size| size.to_string() == name);
    names_in(folder).into_iter().filter_map(size).collect()
}

/// The folder of time-stamps.
const STAMPS: &str = "timestamps";
/// End of the name of an authority's answer.
const ANSWER: &str = ".tsr";
/// Digits of the name of a folder of checkpoints.
const SHARD_DIGITS: usize = 20;
/// Bytes of a list at most: 4,096 numbers of 9 bytes, or the names of as many files as authorities are asked.
const SIZES_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer at most: a token with its certificates has 6 KB.
const ANSWER_BYTES_MAX: usize = 1 << 20;
