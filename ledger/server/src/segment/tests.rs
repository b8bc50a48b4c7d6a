#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ledger_protocol::{Answered, Outcome};
use ledger_tlog::bundle::append_entry;
use messages::Digest;
use messages::ledger::IdempotencyKey;

use super::*;
use crate::disk::faults::{Fault, Watched};
use crate::folder::Folder;
use crate::store::Index;

const ORIGIN: Digest = Digest([7; 32]);

fn entry(index: u64) -> Vec<u8> {
    let length = usize::try_from(1 + index * 37 % 300).unwrap();
    (0..length).map(|at| at.to_le_bytes()[0] ^ index.to_le_bytes()[0]).collect()
}

fn answered(first: u64, count: u64) -> Answered {
    Answered::new(Some("verifier"), &[], vec![Outcome::Appended { first, count }])
}

fn batch(first: u64, count: u64) -> Batch {
    let mut batch = Batch::new(first, Vec::new());
    for index in first..first + count {
        let frame = batch.frames_mut().len();
        append_entry(batch.frames_mut(), &entry(index)).unwrap();
        let bundle = index.is_multiple_of(MARK_INTERVAL).then_some((index, frame));
        batch.count_in(1, bundle.as_slice());
    }
    batch.remember((IdempotencyKey([first.to_le_bytes()[0]; 16]), answered(first, count)));
    batch
}

/// A log of batches of these sizes, in segments of at most `segment_bytes_max`.
fn write(folder: &Path, segment_bytes_max: u64, counts: &[u64]) -> Arc<Segments> {
    let segments = Arc::new(Segments::new(
        Folder::open(folder).unwrap(),
        Vec::new(),
        Arc::new(Index::open(&folder.join("index")).unwrap()),
    ));
    let mut writer = Writer::new(Arc::clone(&segments), ORIGIN, segment_bytes_max).unwrap();
    let mut first = 0;
    for count in counts {
        writer.append(&mut batch(first, *count)).unwrap();
        first += count;
    }
    writer.finish().unwrap();
    segments
}

/// Entries and first flaw of one segment file.
fn scan(path: &Path) -> (u64, Option<BatchFlaw>) {
    let mut reader = match BatchReader::open(path, 0, &header(0, &ORIGIN)) {
        Ok(reader) => reader,
        Err(flaw) => return (0, Some(flaw)),
    };
    loop {
        match reader.next() {
            Ok(None) => return (reader.next_index(), None),
            Ok(Some(_)) => {}
            Err(flaw) => return (reader.next_index(), Some(flaw)),
        }
    }
}

#[test]
fn what_was_appended_is_read_from_any_entry_on_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let counts = [1, 300, 2, 700, 5, 256, 256];
    let segments = write(folder.path(), 40_000, &counts);
    assert!(Segments::list(segments.folder()).unwrap().0.len() > 2);
    let total: u64 = counts.iter().sum();
    for start in (0..total).step_by(13) {
        let mut expected = start;
        let read = segments.read(start, |index, bytes| {
            assert_eq!((index, bytes), (expected, entry(expected).as_slice()));
            expected += 1;
            ControlFlow::Continue(())
        });
        read.unwrap();
        assert_eq!(expected, total);
    }
    assert_eq!(segments.entry(301).unwrap(), entry(301));
    assert!(matches!(segments.entry(total), Err(ReadError::Missing { .. })));
}

#[test]
fn a_scan_gives_back_entries_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), u64::MAX, &[3, 2]);
    let path = folder.path().join(name(0));
    let mut reader = BatchReader::open(&path, 0, &header(0, &ORIGIN)).unwrap();
    let first = reader.next().unwrap().unwrap();
    assert_eq!(first.entries().map(|(_, entry)| entry.to_vec()).collect::<Vec<_>>(), [entry(0), entry(1), entry(2)]);
    let second = reader.next().unwrap().unwrap();
    assert_eq!(second.answers, [(IdempotencyKey([3; 16]), answered(3, 2))]);
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_torn_tail_of_any_length_is_found_and_nothing_before_it_lost() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), u64::MAX, &[4, 3]);
    let path = folder.path().join(name(0));
    let whole = fs::read(&path).unwrap();
    let kept = 64 + batch(0, 4).seal().len();
    for length in kept..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (entries, flaw) = scan(&path);
        assert_eq!(entries, 4, "cut at {length}");
        assert_eq!(flaw.is_some(), length > kept, "cut at {length}");
        if let Some(flaw) = flaw {
            let tail = torn_tail(&path, kept as u64, &flaw).unwrap();
            assert_eq!(tail.as_deref(), Some(&whole[kept..length]), "cut at {length}");
        }
    }
}

#[test]
fn any_flipped_byte_is_found_and_told_from_a_torn_tail_by_the_batch_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), u64::MAX, &[4, 3]);
    let path = folder.path().join(name(0));
    let whole = fs::read(&path).unwrap();
    let first_end = 64 + batch(0, 4).seal().len();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let (entries, flaw) = scan(&path);
        let flaw = flaw.unwrap_or_else(|| panic!("byte {at}"));
        assert_eq!(entries, if at < first_end { 0 } else { 4 }, "byte {at}");
        if (64..first_end).contains(&at) {
            assert_eq!(torn_tail(&path, 64, &flaw).unwrap(), None, "byte {at}");
        }
    }
}

/// The file of a log whose process was killed: batches, then the zeros written ahead.
fn killed(folder: &Path, counts: &[u64]) -> Vec<u8> {
    let index = Arc::new(Index::open(&folder.join("index")).unwrap());
    let segments = Arc::new(Segments::new(Folder::open(folder).unwrap(), Vec::new(), index));
    let mut writer = Writer::new(segments, ORIGIN, u64::MAX).unwrap();
    let mut first = 0;
    for count in counts {
        writer.append(&mut batch(first, *count)).unwrap();
        first += count;
    }
    fs::read(folder.join(name(0))).unwrap()
}

#[test]
fn zeros_written_ahead_are_the_end_of_the_last_file_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = killed(folder.path(), &[4, 3]);
    let end = 64 + batch(0, 4).seal().len() + batch(4, 3).seal().len();
    assert!(bytes.len() > end + 500_000 && bytes[end..].iter().all(|byte| *byte == 0));
    let path = folder.path().join(name(0));
    let mut reader = BatchReader::open(&path, 0, &header(0, &ORIGIN)).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!((reader.next_index(), reader.offset()), (7, end as u64));
    assert_eq!(reader.slack(), (bytes.len() - end) as u64);
    assert!(matches!(reader.expect_no_slack(), Err(BatchFlaw::Slack { .. })));
    for at in [end, end + 1, end + 2, end + 4096, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] = 1;
        fs::write(&path, &altered).unwrap();
        let (entries, flaw) = scan(&path);
        assert!(entries == 7 && flaw.is_some(), "byte {at}");
    }
}

#[test]
fn a_small_batch_goes_over_zeros_and_a_large_one_makes_the_file_grow() {
    let folder = tempfile::tempdir().unwrap();
    let length = |counts: &[u64]| {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        killed(folder.path(), counts).len()
    };
    let once = length(&[4]);
    assert!(once > 1 << 20);
    assert_eq!(length(&[4, 3, 3, 3]), once);
    // About 300 KB.
    let large = 64 + batch(0, 2_000).seal().len();
    assert_eq!(length(&[2_000]), large);
    assert_eq!(length(&[2_000, 2]), large + batch(2_000, 2).seal().len() + (1 << 20));
}

#[test]
fn a_batch_of_which_any_blocks_did_not_arrive_is_cut_and_nothing_before_it_lost() {
    let folder = tempfile::tempdir().unwrap();
    // The second batch spans several blocks of a disk, in space that was zeros before.
    let bytes = killed(folder.path(), &[4, 120]);
    let path = folder.path().join(name(0));
    let (start, end) = (64 + batch(0, 4).seal().len(), 64 + batch(0, 4).seal().len() + batch(4, 120).seal().len());
    let blocks: Vec<_> = (start / 4096..=end / 4096).collect();
    assert!(blocks.len() >= 4, "{blocks:?}");
    for arrived in 0u32..1 << blocks.len() {
        let mut torn = bytes.clone();
        for block in blocks.iter().enumerate().filter(|(bit, _)| arrived >> bit & 1 == 0).map(|(_, block)| block) {
            torn[(block * 4096).max(start)..((block + 1) * 4096).min(end)].fill(0);
        }
        fs::write(&path, &torn).unwrap();
        let (entries, flaw) = scan(&path);
        let whole = arrived + 1 == 1 << blocks.len();
        assert_eq!(entries, if whole { 124 } else { 4 }, "{arrived:b}");
        assert_eq!(flaw.is_some(), !whole && arrived != 0, "{arrived:b}");
        if let Some(flaw) = flaw {
            assert_eq!(torn_tail(&path, start as u64, &flaw).unwrap().unwrap(), torn[start..], "{arrived:b}");
        }
    }
}

#[test]
fn a_whole_batch_in_the_wrong_place_is_no_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), u64::MAX, &[4]);
    let path = folder.path().join(name(0));
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes.extend_from_slice(batch(7, 3).seal());
    fs::write(&path, &bytes).unwrap();
    let (entries, flaw) = scan(&path);
    let flaw = flaw.unwrap();
    assert!(entries == 4 && matches!(flaw, BatchFlaw::First { expected: 4, found: 7 }), "{flaw:?}");
    assert_eq!(torn_tail(&path, end as u64, &flaw).unwrap(), None);
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let flaw = scan(&path).1.unwrap();
    assert_eq!(torn_tail(&path, end as u64, &flaw).unwrap().unwrap(), bytes[end..bytes.len() - 1]);
}

#[test]
fn a_batch_is_kept_where_there_is_no_room_for_zeros_and_they_take_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name(0));
    // A file begins with six operations; then come the batch and the zeros.
    let (batch_number, zeros_number) = (6, 7);
    let begin = || {
        let _ = fs::remove_file(&path);
        let index = Arc::new(Index::open(&folder.path().join("index")).unwrap());
        let segments = Arc::new(Segments::new(Folder::open(folder.path()).unwrap(), Vec::new(), index));
        Writer::new(segments, ORIGIN, u64::MAX).unwrap()
    };
    let watched = Watched::new(folder.path());
    let mut writer = begin();
    watched.arm(zeros_number, Fault::Full);
    let mut end = 64;
    for (first, count) in [(0, 4), (4, 3), (7, 3)] {
        writer.append(&mut batch(first, count)).unwrap();
        end += batch(first, count).seal().len();
        assert_eq!(fs::read(&path).unwrap().len(), end, "a file without zeros");
    }
    assert!(watched.struck().is_some() && scan(&path).1.is_none());
    drop(writer);

    watched.disarm();
    let mut writer = begin();
    watched.arm(batch_number, Fault::Full);
    assert_eq!(writer.append(&mut batch(0, 4)).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    drop(writer);

    watched.disarm();
    let mut writer = begin();
    watched.arm(zeros_number, Fault::Once);
    writer.append(&mut batch(0, 4)).expect_err("another failure than want of room says that the disk is not well");
}

#[test]
fn a_segment_of_another_log_or_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), u64::MAX, &[1]);
    let path = folder.path().join(name(0));
    for expected in [header(0, &Digest([8; 32])), header(1, &ORIGIN)] {
        assert!(matches!(BatchReader::open(&path, 0, &expected), Err(BatchFlaw::Header { .. })));
    }
    assert_eq!(format::parse_name("00000000000000000256.seg"), Some(256));
    assert_eq!(format::parse_name("256.seg"), None);
}

#[test]
fn the_example_of_the_specification_is_what_is_written() {
    let mut batch = Batch::new(0, Vec::new());
    batch.frames_mut().extend_from_slice(&[0, 1, 0xf6]);
    batch.count_in(1, &[(0, 0)]);
    batch.remember((IdempotencyKey([0xaa; 16]), answered(0, 1)));
    let bytes = hex::encode(batch.seal());
    let spec = include_str!("../../../../docs/spec/segment.md");
    let flat: String = spec.split_whitespace().collect();
    assert!(flat.contains(&bytes), "docs/spec/segment.md should show {bytes}");
    let header = hex::encode(header(0, &crate::identity::origin_digest("ledger.example/log1")));
    assert!(flat.contains(&header), "docs/spec/segment.md should show {header}");
}
