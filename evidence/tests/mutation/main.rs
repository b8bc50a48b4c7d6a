//! Random byte changes over all evidence and all policies there are, 100,000 each over boot logs and measurement lists,
//! quotes, EK certificates, signed envelopes, and policies: never a panic, never more than 64 MiB, and what failed
//! before fails still.
//!
//! A program of its own, for its allocator counts. The library's own allocations (openssl's) are not among them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

#[path = "../../src/boot_log/tests/builder.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod boot_builder;
mod certificates;
mod envelopes;
#[path = "../../src/ima/tests/builder.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod list_builder;
mod lists;
mod logs;
mod policies;
mod quotes;
mod random;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

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

/// One test at a time, for the allocator counts for all threads.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn altered_logs_and_lists_fail_as_before() {
    hold(logs_and_lists);
}

#[test]
fn altered_quotes_are_not_authentic() {
    hold(quotes::subjects);
}

#[test]
fn altered_ek_certificates_lead_to_no_root() {
    hold(certificates::subjects);
}

#[test]
fn altered_envelopes_give_no_other_policy() {
    hold(envelopes::subjects);
}

#[test]
fn altered_policies_allow_nothing_more() {
    hold(policies::subjects);
}

/// Changes some bytes of one of the subjects, and again.
fn hold(subjects: fn() -> Vec<Subject>) {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let subjects = subjects();
    let (whole, heads): (Vec<&Subject>, Vec<&Subject>) = subjects.iter().partition(|subject| subject.whole);
    let mut random = Random(SEED);
    let mut read = 0;
    for number in 0..MUTATIONS {
        let group = if heads.is_empty() || number % WHOLE_EVERY == 0 { &whole } else { &heads };
        let subject = group[random.below(group.len())];
        let mut bytes = subject.bytes.clone();
        let changes = if random.below(4) == 0 { 2 + random.below(3) } else { 1 };
        for _ in 0..changes {
            let at = random.below(bytes.len());
            bytes[at] ^= u8::try_from(1 + random.below(255)).unwrap();
        }
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let outcome = subject.judge.outcome(&bytes, random.below(2) == 0);
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(taken <= MEMORY_BYTES_MAX, "{}: mutation {number} took {taken} bytes", subject.name);
        assert_ne!(outcome, Outcome::Passes, "{}: mutation {number} passes", subject.name);
        read += usize::from(outcome == Outcome::Fails);
    }
    // Else the changes would test nothing but the first length field.
    assert!(read > MUTATIONS / 10, "only {read} of {MUTATIONS} altered subjects were still read to the end");
    drop(turn);
}

/// What became of an altered subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fails,
    Malformed,
    /// It is believed, or allows what it did not.
    Passes,
}

/// What is altered, with two judgements that it fails.
struct Subject {
    name: String,
    bytes: Vec<u8>,
    judge: Box<dyn Judge>,
    whole: bool,
}

impl Subject {
    /// Something that is always taken whole, after a look at how it is judged as it is.
    fn whole(name: &str, bytes: Vec<u8>, judge: impl Judge + 'static) -> Self {
        for lacking in [true, false] {
            assert_ne!(judge.outcome(&bytes, lacking), Outcome::Passes, "{name} as it is");
        }
        Self { name: name.to_owned(), bytes, judge: Box::new(judge), whole: true }
    }
}

trait Judge {
    /// By what lacks one thing that is needed (`lacking`), or by what is another machine's, signer's or file's.
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome;
}

impl Judge for BootedMachine {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        self.outcome(bytes, lacking)
    }
}

impl Judge for ListedMachine {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        self.outcome(bytes, lacking)
    }
}

fn logs_and_lists() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (name, bytes) in own_logs().into_iter().chain(recorded("eventlogs")) {
        let head = logs::head(&bytes);
        let head = Subject { whole: false, ..Subject::whole(&name, head.clone(), BootedMachine::new(&head)) };
        subjects.extend([Subject::whole(&name, bytes.clone(), BootedMachine::new(&bytes)), head]);
    }
    for (name, bytes) in own_lists().into_iter().chain(recorded("ima")) {
        let head = lists::head(&bytes);
        let head = Subject { whole: false, ..Subject::whole(&name, head.clone(), ListedMachine::new(&head)) };
        subjects.extend([Subject::whole(&name, bytes.clone(), ListedMachine::new(&bytes)), head]);
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
    let Some(path) = data(folder) else { return BTreeMap::new() };
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let named = files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()));
    named.filter(|(name, _)| ![".json", ".yaml", ".dat"].iter().any(|end| name.ends_with(end))).collect()
}

/// A folder of recorded data beside the workspace, if it is there.
fn data(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there, only what is our own is altered", path.display());
    None
}
