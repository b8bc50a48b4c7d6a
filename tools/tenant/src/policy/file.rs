//! Files in and out, bounded.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
};

use crate::failure::Failure;

/// Largest policy or list that is read: a list of a million entries has some 150 MiB, and so has a policy of a million
/// files.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A whole file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::system(format_args!("read {}", path.display()), error);
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    let mut bytes = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(bytes)
}

/// A file's text.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?)
        .map_err(|error| Failure::system(format_args!("read {} as UTF-8", path.display()), error))
}

/// Puts a file in place whole, or leaves what was there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::system(format_args!("write {}", path.display()), error);
    let mut name = path.file_name().ok_or_else(|| Failure::usage(format!("{} is no file", path.display())))?.to_owned();
    name.push(format!(".{}.new", process::id()));
    let new: PathBuf = path.with_file_name(name);
    let written = File::create_new(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map_err(|error| {
        // What is left of a failed write is of no use to anybody.
        let _ = fs::remove_file(&new);
        failed(error)
    })
}
