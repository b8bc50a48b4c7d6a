//! The censuses on record with all their rows, in two append-only files.
//!
//! `census` has one record per census, its number is the epoch. `rows` has, of each, the rows that changed
//! since the one before, in CBOR; or all of them, so that reading one never takes more than twice as many
//! rows as it has, and one change.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ledger_history::census::{Census, CensusRow, Clock};
use messages::{Digest, cbor};

use super::error::{HistoriesError, io};

/// One census.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct CensusRecord {
    /// Index of its entry; `None` if what the entry states is not true.
    pub(super) index: Option<u64>,
    /// Entries that it covers.
    pub(super) prefix_size: u64,
    /// Its time.
    pub(super) clock: Clock,
    /// Where its rows are.
    offset: u64,
    bytes: u64,
    /// Number of the census from which on rows must be read.
    whole: u64,
}

/// The two files, for the one who writes them.
#[derive(Debug)]
pub(super) struct CensusFiles {
    count: u64,
    /// Last index and status in the last census, by slot: what says that a row has changed.
    known: Vec<(u64, u8)>,
    path: PathBuf,
    /// Rows written since the last time that all were.
    rows: usize,
    rows_bytes: u64,
    /// Number of the census with all rows.
    whole: u64,
}

impl CensusFiles {
    pub(super) fn new(histories: &Path) -> Self {
        let path = histories.to_owned();
        Self { count: 0, known: Vec::new(), path, rows: 0, rows_bytes: 0, whole: 0 }
    }

    /// Goes on behind `count` censuses; cuts off what is newer.
    pub(super) fn resume(histories: &Path, count: u64, rows_bytes: u64) -> Result<Self, HistoriesError> {
        let mut files = Self { count, rows_bytes, ..Self::new(histories) };
        for (name, expected) in [(RECORDS_FILE, count * RECORD_BYTES as u64), (ROWS_FILE, rows_bytes)] {
            let path = histories.join(name);
            if expected == 0 && !path.exists() {
                continue;
            }
            let file = OpenOptions::new().write(true).open(&path).map_err(io("open", &path))?;
            let found = file.metadata().map_err(io("look at", &path))?.len();
            if found < expected {
                return Err(HistoriesError::Short { path, expected, found });
            }
            file.set_len(expected).map_err(io("cut", &path))?;
        }
        if let Some(last) = count.checked_sub(1) {
            let Gathered { rows, read, whole } = gather(histories, last)?;
            files.known = rows.iter().map(mark).collect();
            (files.rows, files.whole) = (read, whole);
        }
        Ok(files)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn rows_bytes(&self) -> u64 {
        self.rows_bytes
    }

    /// Adds the next census, whose entry is `index` if it is true.
    pub(super) fn append(
        &mut self,
        index: Option<u64>,
        prefix_size: u64,
        clock: Clock,
        rows: &[CensusRow],
    ) -> Result<(), HistoriesError> {
        let known = self.known.iter().map(Some).chain(std::iter::repeat(None));
        let changed = rows.iter().zip(known).filter(|(row, known)| *known != Some(&mark(row)));
        let mut written: Vec<CensusRow> = changed.map(|(row, _)| *row).collect();
        if self.count == 0 || self.rows + written.len() > rows.len() {
            (self.whole, self.rows) = (self.count, 0);
            written = rows.to_vec();
        } else {
            self.rows += written.len();
        }
        let bytes = cbor::encode(&written);
        let (offset, length) = (self.rows_bytes, bytes.len() as u64);
        write_at(&self.path.join(ROWS_FILE), &bytes, offset)?;
        let record = CensusRecord { index, prefix_size, clock, offset, bytes: length, whole: self.whole };
        write_at(&self.path.join(RECORDS_FILE), &record.to_bytes(), self.count * RECORD_BYTES as u64)?;
        self.known = rows.iter().map(mark).collect();
        (self.count, self.rows_bytes) = (self.count + 1, offset + length);
        Ok(())
    }
}

/// A row changes when an entry of its agent is covered, or by time alone its status.
fn mark(row: &CensusRow) -> (u64, u8) {
    (row.last_index, row.status as u8)
}

impl CensusRecord {
    /// Reads a record that is there.
    pub(super) fn read(histories: &Path, number: u64) -> Result<Self, HistoriesError> {
        let path = histories.join(RECORDS_FILE);
        let mut bytes = [0; RECORD_BYTES];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, number * RECORD_BYTES as u64));
        read.map_err(io("read", &path))?;
        let mut basis = [0; 32];
        let mut numbers = [0; 6];
        let (digest, rest) = bytes.split_at(basis.len());
        basis.copy_from_slice(digest);
        for (number, chunk) in numbers.iter_mut().zip(rest.as_chunks().0) {
            *number = u64::from_be_bytes(*chunk);
        }
        let [index, prefix_size, seconds, offset, bytes, whole] = numbers;
        let clock = Clock { seconds, basis: Digest(basis) };
        Ok(Self { index: (index != NOT_TRUE).then_some(index), prefix_size, clock, offset, bytes, whole })
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let Self { index, prefix_size, clock, offset, bytes: length, whole } = self;
        let mut bytes = [0; RECORD_BYTES];
        let (digest, rest) = bytes.split_at_mut(32);
        digest.copy_from_slice(clock.basis.as_bytes());
        let numbers = [index.unwrap_or(NOT_TRUE), prefix_size, clock.seconds, offset, length, whole];
        for (chunk, number) in rest.chunks_exact_mut(8).zip(numbers) {
            chunk.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

/// The two files of `count` censuses and their bytes.
pub(super) fn extents(count: u64, rows_bytes: u64) -> [(PathBuf, u64); 2] {
    [(PathBuf::from(RECORDS_FILE), count * RECORD_BYTES as u64), (PathBuf::from(ROWS_FILE), rows_bytes)]
}

/// A census with all its rows.
pub(super) fn read(histories: &Path, number: u64) -> Result<Census, HistoriesError> {
    let CensusRecord { prefix_size, clock, .. } = CensusRecord::read(histories, number)?;
    Ok(Census::from_rows(prefix_size, number, clock, gather(histories, number)?.rows))
}

struct Gathered {
    rows: Vec<CensusRow>,
    /// Rows read after all of `whole`.
    read: usize,
    whole: u64,
}

fn gather(histories: &Path, number: u64) -> Result<Gathered, HistoriesError> {
    let whole = CensusRecord::read(histories, number)?.whole;
    let path = histories.join(ROWS_FILE);
    let file = File::open(&path).map_err(io("open", &path))?;
    let mut gathered = Gathered { rows: Vec::new(), read: 0, whole };
    for number in whole..=number {
        let record = CensusRecord::read(histories, number)?;
        let mut bytes = vec![0; usize::try_from(record.bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, record.offset).map_err(io("read", &path))?;
        let rows: Vec<CensusRow> = cbor::decode(&bytes).map_err(|source| HistoriesError::Rows { number, source })?;
        gathered.read += if number == whole { 0 } else { rows.len() };
        for row in rows {
            match usize::try_from(row.slot).ok().and_then(|slot| gathered.rows.get_mut(slot)) {
                Some(known) => *known = row,
                None => gathered.rows.push(row),
            }
        }
    }
    Ok(gathered)
}

fn write_at(path: &Path, bytes: &[u8], offset: u64) -> Result<(), HistoriesError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.and_then(|file| file.write_all_at(bytes, offset)).map_err(io("write", path))
}

/// `basis ‖ u64 index, prefix size, clock, offset and length of the rows, number of the census with all`.
const RECORD_BYTES: usize = 32 + 6 * 8;

/// Index of an entry that states another census than the true one.
const NOT_TRUE: u64 = u64::MAX;

const RECORDS_FILE: &str = "census";
const ROWS_FILE: &str = "rows";

#[cfg(test)]
mod tests;
