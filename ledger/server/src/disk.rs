//! Every change to a file that must outlive a crash, in one place, so that tests can fail each of
//! them, stop at each of them, and forget what was never synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use transport::secret_file;

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
pub(crate) mod power_cut;

/// Creates a file that is not there yet.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    faults::before(faults::Operation::Create(path))?;
    File::create_new(path)
}

/// Opens, for writing, a file that is there or that `options` create.
pub(crate) fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    #[cfg(test)]
    faults::before(faults::Operation::Open(path))?;
    options.open(path)
}

/// Writes all of `bytes`. After an error any part of them may be there.
pub(crate) fn write_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    if let Some((written, error)) = faults::torn(path, bytes, offset) {
        file.write_all_at(written, offset)?;
        faults::half_written(path);
        return Err(error);
    }
    let _ = path;
    file.write_all_at(bytes, offset)
}

/// Bytes that whoever runs this process may still write to the file system that `file` is on.
pub(crate) fn bytes_left(file: &File) -> io::Result<u64> {
    let found = rustix::fs::fstatvfs(file)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Has `write` write a file that only its owner may read, replacing one of that name at once and
/// durably; `failed` makes its error from that of the disk.
pub(crate) fn write_secret<E>(
    path: &Path,
    write: impl FnOnce() -> Result<(), E>,
    failed: impl FnOnce(secret_file::WriteError) -> E,
) -> Result<(), E> {
    #[cfg(test)]
    if let Err(source) = faults::before(faults::Operation::WriteSecret(path)) {
        return Err(failed(secret_file::WriteError { path: path.to_owned(), source }));
    }
    let _ = (path, failed);
    write()?;
    #[cfg(test)]
    faults::secret_written(path);
    Ok(())
}

/// Makes a file's bytes and length durable.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Operation::Sync(path))?;
    file.sync_data()?;
    #[cfg(test)]
    faults::synced(path);
    let _ = path;
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &File, path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Operation::SyncFolder(path))?;
    folder.sync_all()?;
    #[cfg(test)]
    faults::folder_synced(path);
    let _ = path;
    Ok(())
}

/// Gives a file another name, in place of any other file of that name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Operation::Rename(from, to))?;
    fs::rename(from, to)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Operation::Remove(path))?;
    fs::remove_file(path)
}

/// Creates a folder with these permission bits, less the umask.
pub(crate) fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Operation::CreateFolder(path))?;
    fs::DirBuilder::new().mode(mode).create(path)
}

/// Cuts a file.
pub(crate) fn set_len(file: &File, path: &Path, length: u64) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Operation::Cut(path, length))?;
    let _ = path;
    file.set_len(length)
}
