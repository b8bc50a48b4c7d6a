//! 100,000 random byte changes over every boot log and measurement list there is: never a panic, never more than 64 MiB,
//! and what failed before fails still.
//!
//! A program of its own, for its allocator counts. The library's own allocations (openssl's) are not among them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[path = "../../src/boot_log/tests/builder.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod boot_builder;
#[path = "../../src/ima/tests/builder.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod list_builder;
mod lists;
mod logs;
mod random;

use std::{collections::BTreeMap, fs, path::Path};

use peak_alloc::PeakAlloc;

use lists::Machine as ListedMachine;
use logs::Machine as BootedMachine;
use random::Random;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MUTATIONS: usize = 100_000;
/// So often the whole log is taken, else its first entries: real logs have up to a megabyte.
const WHOLE_EVERY: usize = 10;
/// Some 20 entries of either kind.
const HEAD_BYTES: usize = 6 << 10;
const MEMORY_BYTES_MAX: usize = 64 << 20;
const SEED: u64 = 0x6174_7465_7374_7279;

#[test]
fn no_random_byte_change_panics_or_takes_much_memory_or_turns_a_failure_into_a_pass() {
    let subjects = subjects();
    let (whole, heads): (Vec<&Subject>, Vec<&Subject>) = subjects.iter().partition(|subject| subject.whole);
    let mut random = Random(SEED);
    let mut read = 0;
    for number in 0..MUTATIONS {
        let group = if number % WHOLE_EVERY == 0 { &whole } else { &heads };
        let subject = group[random.below(group.len())];
        let mut bytes = subject.bytes.clone();
        let changes = if random.below(4) == 0 { 2 + random.below(3) } else { 1 };
        for _ in 0..changes {
            let at = random.below(bytes.len());
            bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap();
        }
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let outcome = subject.judge.outcome(&bytes, number % 2 == 0);
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(taken <= MEMORY_BYTES_MAX, "{}: mutation {number} took {taken} bytes", subject.name);
        assert_ne!(outcome, Outcome::Passes, "{}: mutation {number} passes", subject.name);
        read += usize::from(outcome == Outcome::Fails);
    }
    // Else the changes would test nothing but the first length field.
    assert!(read > MUTATIONS / 10, "{read} of {MUTATIONS} altered logs were still read to the end");
}

/// What became of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fails,
    Malformed,
    Passes,
}

/// A log with two judgements that it fails.
struct Subject {
    name: String,
    bytes: Vec<u8>,
    judge: Judge,
    whole: bool,
}

enum Judge {
    Boot(BootedMachine),
    List(ListedMachine),
}

impl Judge {
    /// By a policy that lacks one thing the log shows (`lacking`), or by another machine's quote.
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        match self {
            Self::Boot(machine) => machine.outcome(bytes, lacking),
            Self::List(machine) => machine.outcome(bytes, lacking),
        }
    }
}

fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    let mut add = |name: &str, bytes: &[u8], judge: &dyn Fn(&[u8]) -> Judge, head: &dyn Fn(&[u8]) -> Vec<u8>| {
        for (whole, bytes) in [(true, bytes.to_vec()), (false, head(bytes))] {
            let judge = judge(&bytes);
            for lacking in [true, false] {
                assert_ne!(judge.outcome(&bytes, lacking), Outcome::Passes, "{name} as it is");
            }
            subjects.push(Subject { name: name.to_owned(), bytes, judge, whole });
        }
    };
    for (name, bytes) in own_logs().into_iter().chain(recorded("eventlogs")) {
        add(&name, &bytes, &|bytes| Judge::Boot(BootedMachine::new(bytes)), &logs::head);
    }
    for (name, bytes) in own_lists().into_iter().chain(recorded("ima")) {
        add(&name, &bytes, &|bytes| Judge::List(ListedMachine::new(bytes)), &lists::head);
    }
    subjects
}

fn own_logs() -> BTreeMap<String, Vec<u8>> {
    use boot_builder::{Machine, SHA1, SHA256, agile, legacy};
    let events = Machine::default().events();
    let agile = agile(&[SHA1, SHA256], &events);
    assert!(BootedMachine::new(&agile).passes_with_all(&agile), "only what is left out makes it fail");
    [("own agile".to_owned(), agile), ("own legacy".to_owned(), legacy(&events))].into()
}

fn own_lists() -> BTreeMap<String, Vec<u8>> {
    let mut list = list_builder::ListBuilder::default();
    list.file("boot_aggregate", b"aggregate").file("/usr/bin/a", b"a");
    list.buffer("kexec-cmdline", b"quiet").violation("/var/log/x");
    list.signed("/usr/bin/s", b"s", &list_builder::attribute(3, 2, 4, 7, &[1; 70]));
    list.signed_v2("verity", "/usr/bin/v", b"v", b"").file("/usr/bin/b", b"b");
    let mut good = list_builder::ListBuilder::default();
    good.file("/usr/bin/a", b"a").file("/usr/bin/b", b"b");
    let good = good.ascii();
    assert!(ListedMachine::new(&good).passes_with_all(&good), "only what is left out makes it fail");
    let named = [("ascii", list.ascii()), ("binary", list.binary()), ("good", good)];
    named.map(|(name, bytes)| (format!("own {name}"), bytes)).into()
}

/// Recorded logs beside the workspace, the malformed ones among them.
fn recorded(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(folder);
    let Ok(entries) = fs::read_dir(&path) else {
        eprintln!("SKIPPED: {} is not there, only logs of our own are altered", path.display());
        return BTreeMap::new();
    };
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let named = files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()));
    named.filter(|(name, _)| ![".json", ".yaml", ".dat"].iter().any(|end| name.ends_with(end))).collect()
}
