//! Verifies an exported log with other people's crates alone: `tests-strangers DIR VKEY`.
//!
//! Not in here: a line of ours that knows the formats. `scripts/strangers` runs it on good logs and
//! on broken ones.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(vkey)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tests-strangers DIR VKEY");
        return ExitCode::from(2);
    };
    match verify(Path::new(&folder), &vkey) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("refused: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The note's signature, every entry's place in the tree, and that the tree extends its prefixes.
fn verify(folder: &Path, vkey: &str) -> Result<(), Box<dyn Error>> {
    let note = Note::from_bytes(&fs::read(folder.join("checkpoint"))?).map_err(show)?;
    let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(vkey).map_err(show)?)]);
    note.verify(&verifiers).map_err(show)?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(show)?;
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let tiles = Folder(folder.to_owned());
    let entries = entries(folder, size)?;
    for (index, entry) in (0..).zip(&entries) {
        let reader = TileHashReader::new(size, root, &tiles);
        let proof = prove_record(size, index, &reader).map_err(show)?;
        check_record(&proof, size, root, index, tlog_tiles::record_hash(entry)).map_err(show)?;
    }
    for old in [1, 2, 255, 256, 257, size - 1] {
        let reader = TileHashReader::new(size, root, &tiles);
        let proof = prove_tree(size, old, &reader).map_err(show)?;
        let old_root = tlog_tiles::tree_hash(old, &reader).map_err(show)?;
        check_tree(&proof, size, root, old, old_root).map_err(show)?;
    }
    Ok(())
}

/// All entries, from bundles of 256 with a length of two bytes before each entry.
fn entries(folder: &Path, size: u64) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut entries = Vec::new();
    let mut bundle = 0;
    while (entries.len() as u64) < size {
        let width = (size - entries.len() as u64).min(256);
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let bytes = fs::read(folder.join(format!("tile/entries/{bundle:03}{partial}")))?;
        let mut rest = bytes.as_slice();
        for _ in 0..width {
            let (length, after) = rest.split_first_chunk().ok_or("a bundle is too short")?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or("a bundle is too short")?;
            entries.push(entry.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err("a bundle is too long".into());
        }
        bundle += 1;
    }
    Ok(entries)
}

/// Tiles in a folder; the reader checks each against the checkpoint's root.
struct Folder(PathBuf);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            // The crate's paths have the height in front of the level, C2SP's have not.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            // What is not there is as wrong as what is altered.
            fs::read(self.0.join(path)).unwrap_or_default()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn show(error: impl std::fmt::Debug) -> Box<dyn Error> {
    format!("{error:?}").into()
}
