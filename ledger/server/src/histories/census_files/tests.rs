//! Censuses come back as they were written.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use ledger_history::aggregate::Aggregate;
use ledger_history::census::Status;

use super::*;

fn row(slot: u32, last_index: u64) -> CensusRow {
    let (agent, status) = (Digest([7; 32]), Status::Met);
    CensusRow { slot, agent, status, last_index, aggregate: Aggregate::NONE, root: Digest::ZERO, terms: Digest::ZERO }
}

fn bytes(folder: &Path) -> [Vec<u8>; 2] {
    [RECORDS_FILE, ROWS_FILE].map(|name| std::fs::read(folder.join(name)).unwrap_or_default())
}

#[test]
fn rows_come_back_as_of_each_census_after_any_restart() {
    let folder = tempfile::tempdir().unwrap();
    let restarted = tempfile::tempdir().unwrap();
    let mut files = CensusFiles::new(folder.path());
    let mut rows: Vec<CensusRow> = Vec::new();
    let mut all = Vec::new();
    for number in 0..60u32 {
        // A few change, some are new, now and then all are.
        for row in &mut rows {
            if number % 13 == 0 || (row.slot + number).is_multiple_of(5) {
                row.last_index += 1;
            }
            if (row.slot + number).is_multiple_of(7) {
                row.status = Status::Missed;
            }
        }
        if number % 3 == 0 {
            rows.push(row(u32::try_from(rows.len()).unwrap(), 0));
        }
        let clock = Clock { seconds: u64::from(number), basis: Digest([3; 32]) };
        let index = (number % 11 != 10).then_some(u64::from(number) * 100);
        files.append(index, u64::from(number) * 90, clock, &rows).unwrap();
        // The other one is opened anew each time.
        let (count, bytes) = (files.count() - 1, restarted.path().join(ROWS_FILE));
        let length = bytes.metadata().map_or(0, |metadata| metadata.len());
        let mut again = CensusFiles::resume(restarted.path(), count, length).unwrap();
        again.append(index, u64::from(number) * 90, clock, &rows).unwrap();
        all.push((index, rows.clone()));
    }
    assert!(bytes(folder.path()) == bytes(restarted.path()), "a restart leaves no trace");
    for (number, (index, rows)) in all.iter().enumerate() {
        let number = number as u64;
        let record = CensusRecord::read(folder.path(), number).unwrap();
        assert_eq!((record.index, record.prefix_size, record.clock.seconds), (*index, number * 90, number));
        assert_eq!(read(folder.path(), number).unwrap().rows(), rows.as_slice(), "{number}");
        let gathered = gather(folder.path(), number).unwrap();
        assert!(gathered.read <= rows.len(), "no more changes than rows are read");
    }
    assert!(bytes(folder.path())[1].len() < 60 * 20 * 170, "not all rows each time");
}

#[test]
fn files_that_are_too_long_are_cut_and_those_too_short_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = CensusFiles::new(folder.path());
    files.append(Some(3), 2, Clock::default(), &[row(0, 1)]).unwrap();
    let (one, length) = (bytes(folder.path()), files.rows_bytes());
    files.append(Some(9), 8, Clock::default(), &[row(0, 2), row(1, 3)]).unwrap();
    drop(CensusFiles::resume(folder.path(), 1, length).unwrap());
    assert_eq!(bytes(folder.path()), one);
    let refused = CensusFiles::resume(folder.path(), 2, length).unwrap_err();
    assert!(matches!(refused, HistoriesError::Short { .. }), "{refused}");
}
