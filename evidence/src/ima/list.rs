//! A measurement list's bytes, in either of the kernel's two forms, read entry by entry.

use super::entry::Entry;
use super::malformed::{MalformedEntry, MalformedList};
use super::{ascii, binary};
use crate::algorithm::HashAlgorithm;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// `ascii_runtime_measurements`: one line an entry.
    Ascii,
    /// `binary_runtime_measurements`, little endian.
    Binary,
}

impl ListForm {
    /// The form `bytes` start in: ASCII lists start with a register's decimal number, binary ones with its four bytes.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Self {
        match bytes {
            // A small number in either byte order; that the wrong one is refused says the reader.
            [_, 0] | [_, 0, 0] | [_, 0, 0, 0, ..] | [0, 0, 0, _, ..] => Self::Binary,
            _ => Self::Ascii,
        }
    }

    /// `ascii` or `binary`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ascii",
            Self::Binary => "binary",
        }
    }
}

/// A measurement list not read yet. Untrusted until its replay met a quoted register.
#[derive(Clone, Copy, Debug)]
pub struct MeasurementList<'a> {
    bytes: &'a [u8],
    form: ListForm,
    log_hash: HashAlgorithm,
}

impl<'a> MeasurementList<'a> {
    /// A list whose template digests are of `log_hash`.
    #[must_use]
    pub fn new(bytes: &'a [u8], log_hash: HashAlgorithm) -> Self {
        Self { bytes, form: ListForm::detect(bytes), log_hash }
    }

    /// A list whose template digests are of the algorithm under which its first entries are right.
    ///
    /// For looking at a list only: appraisal takes the algorithm from policy. SHA-1, SHA-256, SHA-384 and SHA-512 are
    /// tried. If none is right, the one whose size lets a binary list be read, or whose size the zeros have in an ASCII
    /// list that starts with nothing but violations; else SHA-1, the kernel's default.
    #[must_use]
    pub fn with_detected_log_hash(bytes: &'a [u8]) -> Self {
        let mut readable = None;
        for log_hash in DETECTED {
            let list = Self::new(bytes, log_hash);
            match list.some_digest_is_right() {
                Some(true) => return list,
                // Only violations, or digests that are wrong: the size still tells the algorithm.
                Some(false) => readable = readable.or(Some(list)),
                None => (),
            }
        }
        readable.unwrap_or_else(|| Self::new(bytes, HashAlgorithm::Sha1))
    }

    /// Whether one of the first template digests is right; nothing if the first entry cannot be read, or if nothing
    /// speaks for the algorithm.
    fn some_digest_is_right(&self) -> Option<bool> {
        let mut entries = self.entries();
        let mut is_telling = true;
        for number in 0..DETECTION_ENTRIES {
            match entries.read() {
                Ok(Some(entry)) => {
                    // What an ASCII list has beside violations may be of an algorithm that is not tried.
                    is_telling &= self.form == ListForm::Binary || entry.is_violation(self.log_hash);
                    let right = self.log_hash.digest(entry.data);
                    if right.is_ok_and(|digest| digest.as_bytes() == entry.template_digest) {
                        return Some(true);
                    }
                }
                Ok(None) => break,
                Err(_) if number == 0 => return None,
                Err(_) => break,
            }
        }
        is_telling.then_some(false)
    }

    /// The form the list is written in.
    #[must_use]
    pub const fn form(&self) -> ListForm {
        self.form
    }

    /// The algorithm of the template digests.
    #[must_use]
    pub const fn log_hash(&self) -> HashAlgorithm {
        self.log_hash
    }

    /// A reader at the first entry.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries { cursor: self.cursor(), scratch: Scratch::default() }
    }

    /// A reader at the first entry that takes the caller's memory.
    pub(super) const fn cursor(&self) -> Cursor<'a> {
        Cursor { list: *self, offset: 0, read: 0 }
    }
}

/// Reads a list; allocates for the longest entry only, not for each.
#[derive(Debug)]
pub struct Entries<'a> {
    cursor: Cursor<'a>,
    scratch: Scratch,
}

impl Entries<'_> {
    /// The next entry; nothing at the end of the list.
    ///
    /// # Errors
    /// [`MalformedList`] with the entry's number and place. What follows cannot be read; asking again repeats the error.
    pub fn read(&mut self) -> Result<Option<Entry<'_>>, MalformedList> {
        self.cursor.read(&mut self.scratch)
    }
}

/// A place in a list.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    list: MeasurementList<'a>,
    offset: usize,
    read: u64,
}

impl<'a> Cursor<'a> {
    /// The next entry, put together in `scratch` where the list has it in another form.
    pub(super) fn read<'s>(&mut self, scratch: &'s mut Scratch) -> Result<Option<Entry<'s>>, MalformedList>
    where
        'a: 's,
    {
        let rest = self.list.bytes.get(self.offset..).unwrap_or_default();
        let (entry, offset) = (self.read, self.offset);
        let result = match self.list.form {
            ListForm::Ascii => ascii::read(rest, scratch),
            ListForm::Binary => binary::read(rest, self.list.log_hash.digest_bytes(), scratch),
        };
        match result {
            Ok(None) => Ok(None),
            Ok(Some((found, consumed))) => {
                self.offset += consumed;
                self.read += 1;
                Ok(Some(found))
            }
            Err(problem) => Err(MalformedList { entry, offset, problem }),
        }
    }
}

/// Memory an entry is put together in, used again for the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The template digest of an ASCII line.
    pub(super) digest: Vec<u8>,
    /// Template data where the list has them in another form than was hashed.
    pub(super) data: Vec<u8>,
}

/// An entry and how many bytes of the list it took.
pub(super) type Read<'s> = Result<Option<(Entry<'s>, usize)>, MalformedEntry>;

/// The algorithms a list's template digests are tried for. SM3 shares its size with SHA-256 and no kernel makes lists
/// of it by default.
const DETECTED: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
/// Entries looked at to find the algorithm: enough to get past the violations of a list's begin.
const DETECTION_ENTRIES: usize = 16;
/// Template data at most. The kernel measures keys, command lines, critical data and module signatures, each a few
/// pages at most; signed modules' PKCS #7 stay below 64 KiB, xattr values together below 64 KiB.
pub(super) const DATA_BYTES_MAX: usize = 1 << 20;
/// `NAME_MAX`, which bounds a template's name or list of fields.
pub(super) const TEMPLATE_NAME_BYTES_MAX: usize = 255;
