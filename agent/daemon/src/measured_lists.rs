//! The kernel's logs: IMA's measurement list and the firmware's event log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use agent_protocol::measurement_list::{Increment, ListIndex};
use evidence::ima::{ListForm, MalformedEntry, MalformedList, MeasurementList};

/// Where the logs are, and what is known about the places in them.
pub(crate) struct MeasuredLists {
    boot: PathBuf,
    ima: PathBuf,
    index: ListIndex,
}

/// A part of IMA's list.
pub(crate) struct ImaText {
    /// Number of its first entry.
    pub(crate) entry: u64,
    /// Whole lines.
    pub(crate) text: String,
}

/// Why a log was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The system refuses.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Neither of the forms the kernel writes.
    #[error("{path} is no measurement list, neither in ASCII nor in binary", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: MalformedList,
    },
    /// A name in it is not UTF-8, so that it cannot be sent.
    #[error("{path} has a name that is not UTF-8", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Larger than anything that is sent.
    #[error("{path} is larger than the {LIST_BYTES_MAX} bytes that are sent at once", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl MeasuredLists {
    pub(crate) fn new(ima: PathBuf, boot: PathBuf) -> Self {
        Self { boot, ima, index: ListIndex::default() }
    }

    /// IMA's list from entry `wanted` on, or from the start if it has fewer; `None` if there is none that this agent may
    /// read.
    pub(crate) fn ima(&mut self, wanted: u64) -> Result<Option<ImaText>, ListError> {
        let mut wanted = wanted;
        loop {
            let mark = self.index.nearest(wanted);
            let Some(mut bytes) = read(&self.ima, mark.read_from())? else { return Ok(None) };
            // Places are remembered of text alone: a binary list is always read from its start.
            if mark.offset == 0 && ListForm::detect(&bytes) == ListForm::Binary {
                return self.of_binary(&bytes, wanted).map(Some);
            }
            match self.index.increment(mark, &bytes, wanted) {
                Increment::StartOver => wanted = 0,
                Increment::Text { entry, range } => {
                    bytes.truncate(range.end);
                    bytes.drain(..range.start);
                    let text = String::from_utf8(bytes).map_err(|_| ListError::NotText { path: self.ima.clone() })?;
                    return Ok(Some(ImaText { entry, text }));
                }
            }
        }
    }

    /// The lines of a list that the kernel wrote in its binary form: those that its ASCII form has. An entry that is
    /// still being written is not given out.
    fn of_binary(&self, bytes: &[u8], wanted: u64) -> Result<ImaText, ListError> {
        let malformed = |source| ListError::Malformed { path: self.ima.clone(), source };
        let mut entries = MeasurementList::with_detected_log_hash(bytes).entries();
        let (mut lines, mut starts, mut count) = (Vec::new(), 0, 0_u64);
        loop {
            if count == wanted {
                starts = lines.len();
            }
            match entries.read() {
                Ok(Some(entry)) => entry.write_ascii(&mut lines),
                Ok(None) => break,
                Err(MalformedList { entry: 1.., problem: MalformedEntry::Truncated { .. }, .. }) => break,
                Err(error) => return Err(malformed(error)),
            }
            count += 1;
        }
        let entry = if wanted <= count { wanted } else { 0 };
        lines.drain(..starts);
        let text = String::from_utf8(lines).map_err(|_| ListError::NotText { path: self.ima.clone() })?;
        Ok(ImaText { entry, text })
    }

    /// The firmware's event log, whole; `None` if there is none that this agent may
    /// read.
    pub(crate) fn boot(&self) -> Result<Option<Vec<u8>>, ListError> {
        read(&self.boot, 0)
    }
}

/// Reads a file from `offset` to its end. Files of securityfs give no size beforehand.
fn read(path: &Path, offset: u64) -> Result<Option<Vec<u8>>, ListError> {
    let failed = |source| ListError::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Whoever requires the list sees that it is missing; the others need no rights to it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(path = %path.display(), "no right to read a log, so it is left out");
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LIST_BYTES_MAX {
        return Err(ListError::TooLong { path: path.to_owned() });
    }
    Ok(Some(bytes))
}

/// Verifiers take 100 MiB in one body; 64 MiB is some 400,000 entries, and leaves room for JSON's escapes.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
