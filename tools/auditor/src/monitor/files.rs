//! How the files of a mirror come about: written aside and renamed, so that each is whole whenever a kill comes; and
//! synced, one by one where each counts for itself, else all together before the checkpoint that covers them. Whoever
//! finds a file that no checkpoint covers looks whether it is what it should be: power may have been lost.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::NotWatched;

/// Gives a file its content at once, durably.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), NotWatched> {
    let folder = path.parent().unwrap_or(path);
    write_aside(path, content, sync).and_then(|()| sync(&File::open(folder)?)).map_err(failed("write", path))
}

/// Gives a file its content at once; it is durable after [`settle`].
pub(super) fn place(path: &Path, content: &[u8]) -> Result<(), NotWatched> {
    write_aside(path, content, |_| Ok(())).map_err(failed("write", path))
}

/// Makes all files durable that were placed in a folder.
pub(super) fn settle(folder: &Path) -> Result<(), NotWatched> {
    let settled = step().and_then(|()| {
        let open = File::open(folder)?;
        if cfg!(test) { Ok(()) } else { Ok(rustix::fs::syncfs(&open)?) }
    });
    settled.map_err(failed("sync", folder))
}

fn write_aside(path: &Path, content: &[u8], settle: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    step()?;
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary)?;
    write(&mut file, content)?;
    settle(&file)?;
    step()?;
    fs::rename(&temporary, path)?;
    step()
}

/// Tests stop between writes, not the power.
fn sync(file: &File) -> io::Result<()> {
    if cfg!(test) { Ok(()) } else { file.sync_all() }
}

/// Adds bytes to the end of a file, durably. A kill may leave a part of them there.
pub(super) fn append(path: &Path, bytes: &[u8]) -> Result<(), NotWatched> {
    let add = || {
        step()?;
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        write(&mut file, bytes)?;
        step()?;
        sync(&file)
    };
    add().map_err(failed("write", path))
}

/// Removes a file or a folder that nothing needs any more; whether it is gone after a kill does not matter.
pub(super) fn remove(path: &Path) -> Result<(), NotWatched> {
    let removed = step().and_then(|()| if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", path)),
    }
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NotWatched {
    move |source| NotWatched::Io { operation, path: path.to_owned(), source }
}

/// In two halves, with an instant between them at which a test can stop.
fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    step()?;
    file.write_all(second)
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests stop here")]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
fn step() -> io::Result<()> {
    STEPS_LEFT.with(|left| match left.get() {
        Some(0) => Err(io::Error::other("the test stops here")),
        Some(steps) => {
            left.set(Some(steps - 1));
            Ok(())
        }
        None => Ok(()),
    })
}

#[cfg(test)]
thread_local! {
    /// After how many steps this thread's writes fail, one and all, as if the process had been killed.
    pub(super) static STEPS_LEFT: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}
