//! Entry bundles: up to 256 entries, each after its length in two bytes.
//!
//! ```text
//! bundle = entry*      ; 256, or fewer in a partial bundle
//! entry  = u16 length ‖ length bytes
//! ```
//!
//! The leaf hash covers the entry without its length. Source: C2SP tlog-tiles.

/// Most bytes of one entry: what two bytes of length can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Bytes before each entry.
pub const LENGTH_BYTES: usize = 2;

/// Appends `entry` to `bundle`.
///
/// # Errors
/// [`EntryTooLong`], with `bundle` unchanged.
pub fn append_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLong { found: entry.len() })?;
    bundle.reserve(LENGTH_BYTES + entry.len());
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Splits the first entry, without its length, from what follows it.
///
/// # Errors
/// [`MalformedBundle::Truncated`] if length or entry is cut.
pub fn split_entry(bundle: &[u8]) -> Result<(&[u8], &[u8]), MalformedBundle> {
    let truncated = MalformedBundle::Truncated { left: bundle.len() };
    let Some((length, rest)) = bundle.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(truncated);
    };
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(truncated)
}

/// The entries of a bundle of `width` entries.
///
/// # Errors
/// [`MalformedBundle::Truncated`] if it ends early, [`MalformedBundle::Trailing`] if bytes follow.
pub fn parse_entries(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, MalformedBundle> {
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bundle;
    for _ in 0..width {
        let (entry, after) = split_entry(rest)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(MalformedBundle::Trailing { left: rest.len() }) }
}

/// The entry does not fit two bytes of length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry has {found} bytes, at most {ENTRY_BYTES_MAX} are allowed")]
pub struct EntryTooLong {
    /// Bytes of the entry.
    pub found: usize,
}

/// Why bytes are not a bundle of the given width.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedBundle {
    /// Bytes follow the last entry.
    #[error("{left} bytes follow the last entry of a bundle")]
    Trailing {
        /// Bytes too many.
        left: usize,
    },
    /// A length or an entry is cut.
    #[error("a bundle ends within an entry, {left} bytes after the entry before it")]
    Truncated {
        /// Bytes left for the cut entry.
        left: usize,
    },
}

#[cfg(test)]
mod tests;
