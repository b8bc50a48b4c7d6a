//! What an operator does to a log that is not running.

use std::fs;
use std::path::{Path, PathBuf};

use messages::Digest;
use messages::ledger::Info;

use crate::engine::{INDEX_FOLDER, LogConfig, OpenError, inspect};
use crate::histories::HISTORIES_FOLDER;
use crate::histories::keeper::SNAPSHOT_FILE;
use crate::identity::VKEY_FILE;
use crate::pruned::PRUNED_FOLDER;
use crate::receipts::Receipts;

/// Throws the indexes away and makes them anew from segments and checkpoints, and the histories if the log
/// keeps any; returns a digest over all their records, which is the same each time.
///
/// # Errors
/// [`OpenError`], as when the ledger runs or what was signed is not there.
pub fn reindex(path: &Path) -> Result<Digest, OpenError> {
    reindex_log(&LogConfig::new(path))
}

/// As [`reindex`], of a log whose lock is elsewhere.
///
/// # Errors
/// As [`reindex`].
pub fn reindex_log(config: &LogConfig) -> Result<Digest, OpenError> {
    expect_log(&config.path)?;
    let opened = inspect(config, |folder| {
        let histories = folder.join(HISTORIES_FOLDER);
        let has_histories = histories.exists();
        remove(folder.join(INDEX_FOLDER))?;
        if folder.join(PRUNED_FOLDER).exists() {
            // What rests on pruned entries cannot be made anew; the rest is, behind it.
            return remove_file(histories.join(SNAPSHOT_FILE));
        }
        remove(histories.clone())?;
        // Where it is, histories are made.
        let made = if has_histories { fs::create_dir(&histories) } else { Ok(()) };
        made.map_err(|source| OpenError::Io { operation: "create", path: histories, source })
    })?;
    opened.index_digest()
}

fn remove_file(path: PathBuf) -> Result<(), OpenError> {
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(OpenError::Io { operation: "remove", path, source })
        }
        _ => Ok(()),
    }
}

fn remove(folder: PathBuf) -> Result<(), OpenError> {
    match fs::remove_dir_all(&folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(OpenError::Io { operation: "remove", path: folder, source })
        }
        _ => Ok(()),
    }
}

/// What a log says of itself and the digest of its indexes; mends what a start would mend.
///
/// # Errors
/// [`OpenError`].
pub fn info(path: &Path) -> Result<(Info, Digest), OpenError> {
    info_of(&LogConfig::new(path))
}

/// As [`info`], of a log whose lock is elsewhere.
///
/// # Errors
/// As [`info`].
pub fn info_of(config: &LogConfig) -> Result<(Info, Digest), OpenError> {
    expect_log(&config.path)?;
    let opened = inspect(config, |_| Ok(()))?;
    let mut info = opened.info();
    let receipts = Receipts::open(opened.root(), &info.origin).map_err(OpenError::Receipts)?;
    info.receipt_key = Some(receipts.public_pem().to_owned());
    Ok((info, opened.index_digest()?))
}

fn expect_log(path: &Path) -> Result<(), OpenError> {
    if path.join(VKEY_FILE).exists() { Ok(()) } else { Err(OpenError::NoLog { path: path.to_owned() }) }
}
