//! Whether what a witness has cosigned is part of what this log has signed.

use std::io;

use ledger_tlog::hash::Hash;
use ledger_tlog::tree::{TreeError, TreeHead, tree_head};

use crate::levels::Levels;

/// A checkpoint with this log's own signature that does not fit what is stored here.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Contradiction {
    /// The witness has cosigned more than was signed here.
    #[error(
        "the witness {witness} has cosigned {theirs} entries that this log's key signed, but the last checkpoint \
         signed here has {signed}: this folder is an older copy, or another process signs with its key. Restore the \
         newest folder, or a mirror's entries; this copy must never sign again"
    )]
    Ahead {
        /// Name of the witness's key.
        witness: String,
        /// Size that it has cosigned.
        theirs: u64,
        /// Size signed here last.
        signed: u64,
    },
    /// The witness has cosigned another history.
    #[error(
        "the witness {witness} has cosigned the root {theirs} for {size} entries, which this log's key signed; the \
         entries here have {ours}: the log has two histories. Restore the folder whose entries were witnessed"
    )]
    Forked {
        /// Name of the witness's key.
        witness: String,
        /// The size.
        size: u64,
        /// The root cosigned.
        theirs: Hash,
        /// The root of the entries here.
        ours: Hash,
    },
}

/// Compares what `witness` has cosigned, authentically, with what was `signed` here.
pub(super) fn judge(
    witness: &str,
    theirs: TreeHead,
    signed: TreeHead,
    levels: &Levels,
) -> Result<Result<(), Contradiction>, TreeError<io::Error>> {
    let (witness, size) = (witness.to_owned(), theirs.tree_size);
    if size > signed.tree_size {
        return Ok(Err(Contradiction::Ahead { witness, theirs: size, signed: signed.tree_size }));
    }
    let ours = tree_head(size, |level, start, out: &mut [Hash]| levels.read(level, start, out))?.root;
    if ours == theirs.root {
        return Ok(Ok(()));
    }
    Ok(Err(Contradiction::Forked { witness, size, theirs: theirs.root, ours }))
}
