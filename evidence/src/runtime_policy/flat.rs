//! Import of flat lists: what `sha256sum` prints, and one exclude pattern a line.

use super::builder::{InvalidDigest, PolicyBuilder, Table};
use super::rules::Meta;

/// Why a flat list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlatListError {
    /// The first word of a line is no digest.
    #[error("line {line}")]
    Digest {
        /// The line, from 1.
        line: usize,
        /// What it has instead.
        source: InvalidDigest,
    },
    /// A line has a digest and nothing behind it.
    #[error("line {line} has no path behind its digest")]
    Path {
        /// The line, from 1.
        line: usize,
    },
    /// A line is not UTF-8, so that no pattern can be made of it.
    #[error("line {line} is not UTF-8")]
    Utf8 {
        /// The line, from 1.
        line: usize,
    },
}

impl PolicyBuilder {
    /// Adds the lines of a flat allow-list: a digest, white space, and the path to the end of the line.
    ///
    /// Empty lines and lines starting with `#` are passed over. `%keyring:NAME` in place of a path allows a key in a
    /// keyring. A path without a slash in front stays as it is, as for `boot_aggregate`.
    ///
    /// # Errors
    /// [`FlatListError`] with the first line that is wrong; the lines before it were added.
    pub fn add_flat_list(&mut self, text: &[u8]) -> Result<(), FlatListError> {
        self.rules.meta = Meta::legacy();
        for (line, content) in lines(text) {
            let end = content.iter().position(u8::is_ascii_whitespace).unwrap_or(content.len());
            let (digest, path) = content.split_at(end);
            let path = path.trim_ascii();
            if path.is_empty() {
                return Err(FlatListError::Path { line });
            }
            let (table, path) = match path.strip_prefix(KEYRING_PREFIX) {
                Some(keyring) => (Table::Keyrings, keyring),
                None => (Table::Files, path),
            };
            let digest = std::str::from_utf8(digest).map_err(|_| FlatListError::Utf8 { line })?;
            self.allow(table, path, [digest]).map_err(|source| FlatListError::Digest { line, source })?;
        }
        Ok(())
    }

    /// Adds the lines of an exclude list: one pattern each. Empty lines and lines starting with `#` are passed over.
    ///
    /// # Errors
    /// [`FlatListError::Utf8`] with the first line that is not UTF-8.
    pub fn add_exclude_list(&mut self, text: &[u8]) -> Result<(), FlatListError> {
        for (line, content) in lines(text) {
            let pattern = std::str::from_utf8(content).map_err(|_| FlatListError::Utf8 { line })?;
            self.rules.excludes.push(pattern.to_owned());
        }
        Ok(())
    }
}

/// The lines that say something, numbered from 1, without white space around them.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines
        .map(|(number, line)| (number + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// How flat lists name keyrings.
const KEYRING_PREFIX: &[u8] = b"%keyring:";
