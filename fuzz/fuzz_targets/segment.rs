//! Each batch that is read from a segment is the batch that we would write, and nothing is cut as
//! a torn tail that a whole batch lies behind.
#![no_main]
#![allow(dead_code)]

#[path = "../../ledger/server/src/segment/format.rs"]
mod format;
#[path = "../../ledger/server/src/segment/scan.rs"]
mod scan;

use std::io::{Seek, Write};
use std::os::fd::AsRawFd;

use libfuzzer_sys::fuzz_target;
use messages::Digest;

// The first byte tells whether the last four become a right checksum, which no fuzzer guesses.
fuzz_target!(|bytes: &[u8]| {
    let Some((mode, batches)) = bytes.split_first() else { return };
    let mut batches = batches.to_vec();
    if mode % 2 == 1 {
        let checksum = crc32c::crc32c(&batches);
        batches.extend_from_slice(&checksum.to_be_bytes());
    }
    let header = format::header(0, &Digest::ZERO);
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&[header.as_slice(), &batches].concat()).expect("a temporary file");
    file.rewind().expect("a temporary file");
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut reader = scan::BatchReader::open(&path, 0, &header).expect("the header is right");
    let flaw = loop {
        let batch = match reader.next() {
            Ok(Some(batch)) => batch,
            Ok(None) => break None,
            Err(flaw) => break Some(flaw),
        };
        let mut again = format::Batch::new(batch.first, Vec::new());
        for (_, entry) in batch.entries() {
            ledger_tlog::bundle::append_entry(again.frames_mut(), entry).expect("it had this length");
            again.count_in(1, &[]);
        }
        batch.answers.iter().for_each(|answer| again.remember(answer.clone()));
        let start = usize::try_from(batch.offset - format::HEADER_BYTES).expect("small");
        let end = usize::try_from(reader.offset() - format::HEADER_BYTES).expect("small");
        assert_eq!(again.seal(), &batches[start..end]);
        // Behind a byte more, it is a whole batch behind a flaw.
        assert!(scan::is_complete_batch_after(&[&[1], &batches[start..end]].concat()));
    };
    if let Some(flaw) = flaw {
        let offset = reader.offset();
        let start = usize::try_from(offset - format::HEADER_BYTES).expect("small");
        if let Some(tail) = scan::torn_tail(&path, offset, &flaw).expect("it can be read") {
            assert!(tail == batches[start..] && !scan::is_complete_batch_after(&tail));
        }
    }
});
