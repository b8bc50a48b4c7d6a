//! Failures, kills and power cuts at every step of a record, forks at once, and random requests
//! against a naive witness.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::key::KeyName;
use ledger_tlog::signer::NoteSigner;
use ledger_tlog::tree::{consistency_proof, tree_head};
use tempfile::TempDir;

use super::*;
use crate::store::faults::{self, Fault, LostSync};

const ORIGIN: &str = "log.test";

/// Memory if there is a file system in it: only what the tests remember of syncs counts.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn signer() -> NoteSigner {
    NoteSigner::from_seed(KeyName::new(ORIGIN).unwrap(), &[1; 32]).unwrap()
}

fn cosigner() -> Cosigner {
    Cosigner::from_seed(KeyName::new("w.test").unwrap(), &[2; 32]).unwrap()
}

fn open(data: &Path) -> Result<Witness, StoreError> {
    fs::create_dir_all(data.join(store::RECORDS_FOLDER)).unwrap();
    let mut logs = Logs::default();
    logs.add(&signer().verifier().to_string()).unwrap();
    Witness::open(data, cosigner(), logs)
}

fn record(data: &Path) -> PathBuf {
    data.join(store::RECORDS_FOLDER).join(store::name(ORIGIN))
}

/// Level 0 of a history: two histories share no leaf.
fn read(history: char) -> impl Fn(u8, u64, &mut [Hash]) -> Result<(), Infallible> {
    move |_, start, out| {
        for (index, hash) in (start..).zip(out) {
            *hash = leaf_hash(format!("{history} {index}").as_bytes());
        }
        Ok(())
    }
}

fn request(history: char, old: u64, new: u64) -> Vec<u8> {
    let mut body = format!("old {old}\n");
    if old > 0 && old <= new {
        for hash in consistency_proof(old, new, read(history)).unwrap().hashes() {
            body.push_str(&format!("{}\n", hash.to_base64()));
        }
    }
    let head = tree_head(new, read(history)).unwrap();
    format!("{body}\n{}", Checkpoint::new(ORIGIN, head).unwrap().sign(&signer()).unwrap()).into_bytes()
}

/// Size and history of a cosigned note.
fn head_of(note: &[u8]) -> (u64, char) {
    let recorded = Recorded::parse(note, cosigner().verifier(), ORIGIN).unwrap();
    let head = *recorded.tree_head();
    let history = ['a', 'b'].into_iter().find(|history| tree_head(head.tree_size, read(*history)).unwrap() == head);
    (head.tree_size, history.unwrap())
}

fn shown(witness: &Witness) -> Option<(u64, char)> {
    witness.latest(&store::name(ORIGIN)).map(|note| head_of(&note))
}

/// Steps of one record.
const STEPS: usize = 5;

#[test]
fn a_failure_at_any_step_is_not_answered_and_only_a_restart_goes_on() {
    for fault in [Fault::Once, Fault::Stop] {
        for number in 0..=STEPS {
            let folder = scratch();
            faults::begin(None);
            let witness = open(folder.path()).unwrap();
            witness.add_checkpoint(&request('a', 0, 3)).unwrap();
            faults::arm(number, fault);
            let answer = witness.add_checkpoint(&request('a', 3, 5));
            assert_eq!(faults::disarm(), number < STEPS);
            if number == STEPS {
                answer.unwrap();
                continue;
            }
            assert!(matches!(answer, Err(AddFailed::Write(_))), "{number}: {answer:?}");
            // Neither way on without a look at the disk, and nothing is shown that may not be there.
            assert!(matches!(witness.add_checkpoint(&request('a', 3, 6)), Err(AddFailed::Unknown)));
            assert!(matches!(witness.add_checkpoint(&request('a', 5, 6)), Err(AddFailed::Unknown)));
            assert_eq!(shown(&witness), None);
            drop(witness);
            let witness = open(folder.path()).unwrap();
            let (size, history) = shown(&witness).unwrap();
            assert!(history == 'a' && (size == 3 || size == 5), "{number}: {size}");
            assert_eq!(size == 5, number >= STEPS - 1, "{number}: the rename decides");
            assert!(witness.add_checkpoint(&request('b', size, 9)).is_err());
            witness.add_checkpoint(&request('a', size, 9)).unwrap();
        }
    }
}

/// Asks for growth, with a kill at each step and a power cut after the start that follows it;
/// returns what was cosigned or shown and is gone.
fn cut_power(lost: Option<LostSync>) -> Result<(), String> {
    for number in 0..=STEPS {
        let folder = scratch();
        faults::begin(lost);
        let witness = open(folder.path()).unwrap();
        let mut told = 0;
        for new in [2, 3] {
            witness.add_checkpoint(&request('a', told, new)).unwrap();
            told = new;
            judge(told, &format!("{number}: answered"))?;
        }
        faults::arm(number, Fault::Stop);
        if witness.add_checkpoint(&request('a', told, 7)).is_ok() {
            told = 7;
        }
        judge(told, &format!("{number}: killed"))?;
        drop(witness);
        faults::disarm();
        let witness = open(folder.path()).unwrap();
        judge(shown(&witness).unwrap().0, &format!("{number}: shown after a new start"))?;
    }
    Ok(())
}

fn judge(told: u64, when: &str) -> Result<(), String> {
    let left = faults::after_power_cut().filter(|note| !note.is_empty()).map_or(0, |note| head_of(&note).0);
    if left < told { Err(format!("{when}: {told} was promised, {left} is left")) } else { Ok(()) }
}

#[test]
fn a_power_cut_at_any_step_forgets_nothing_that_was_answered_or_shown() {
    cut_power(None).unwrap();
    for lost in [LostSync::Bytes, LostSync::Names] {
        let noticed = cut_power(Some(lost)).unwrap_err();
        eprintln!("without the sync of {lost:?}: {noticed}");
    }
}

#[test]
fn a_process_killed_at_any_step_has_the_old_record_or_the_new_one() {
    for number in 0..STEPS {
        let folder = scratch();
        faults::begin(None);
        open(folder.path()).unwrap().add_checkpoint(&request('a', 0, 3)).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["witness::tests::the_process_that_is_killed", "--exact", "--ignored", "--nocapture"]);
        let ended = process.env(KILL_AT, number.to_string()).env(KILL_DATA, folder.path()).output().unwrap();
        assert!(!ended.status.success(), "{ended:?}");
        let witness = open(folder.path()).unwrap();
        let (size, _) = shown(&witness).unwrap();
        assert_eq!(size, if number < STEPS - 1 { 3 } else { 5 }, "killed before step {number}");
        assert!(witness.add_checkpoint(&request('b', size, 8)).is_err());
        witness.add_checkpoint(&request('a', size, 8)).unwrap();
    }
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn the_process_that_is_killed() {
    let (Ok(number), Ok(data)) = (std::env::var(KILL_AT), std::env::var(KILL_DATA)) else {
        return;
    };
    let witness = open(Path::new(&data)).unwrap();
    faults::arm(number.parse().unwrap(), Fault::Abort);
    witness.add_checkpoint(&request('a', 3, 5)).unwrap();
}

const KILL_AT: &str = "WITNESS_TEST_KILL_AT";
const KILL_DATA: &str = "WITNESS_TEST_KILL_DATA";

#[test]
fn of_two_forks_asked_for_at_once_one_is_cosigned() {
    for round in 0..40 {
        let folder = scratch();
        let witness = open(folder.path()).unwrap();
        // Both from nothing: no proof tells them apart.
        let [one, two] = ['a', 'b'].map(|history| request(history, 0, 1 + round % 7));
        let barrier = std::sync::Barrier::new(2);
        let (one, two) = std::thread::scope(|scope| {
            let ask = |body| {
                let (witness, barrier) = (&witness, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    witness.add_checkpoint(body)
                })
            };
            let asked = [ask(&one), ask(&two)];
            asked.map(|asked| asked.join().unwrap()).into()
        });
        let won = match (one, two) {
            (Ok(_), Err(AddFailed::Refused(Refusal::OtherSize { .. }))) => 'a',
            (Err(AddFailed::Refused(Refusal::OtherSize { .. })), Ok(_)) => 'b',
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(&witness).unwrap().1, won);
        assert_eq!(head_of(&fs::read(record(folder.path())).unwrap()).1, won);
    }
}

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn random_requests_failures_and_restarts_give_what_a_naive_witness_gives() {
    for seed in 0..60 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ seed);
        let folder = scratch();
        faults::begin(None);
        let mut witness = open(folder.path()).unwrap();
        // All that a witness is: what it has cosigned last.
        let mut naive: Option<(u64, char)> = None;
        for _ in 0..25 {
            let size = naive.map_or(0, |(size, _)| size);
            let history = if chance.below(3) == 0 { 'b' } else { 'a' };
            let old = if chance.below(4) == 0 { chance.below(12) } else { size };
            let new = (old + chance.below(6)).saturating_sub(chance.below(2)).max(1);
            if chance.below(6) == 0 {
                faults::arm(usize::try_from(chance.below(6)).unwrap(), Fault::Stop);
            }
            let answer = witness.add_checkpoint(&request(history, old, new));
            let allowed = old == size && new >= old && naive.is_none_or(|(_, known)| known == history);
            match &answer {
                Ok(_) => assert!(allowed, "seed {seed}: {history} from {old} to {new}, after {naive:?}"),
                Err(AddFailed::Refused(_)) => assert!(!allowed, "seed {seed}: {answer:?}, after {naive:?}"),
                Err(_) => assert!(allowed, "seed {seed}: only what is allowed is written: {answer:?}"),
            }
            if answer.is_ok() {
                naive = Some((new, history));
            }
            if faults::disarm() || chance.below(5) == 0 {
                drop(witness);
                witness = open(folder.path()).unwrap();
                let found = shown(&witness);
                let unanswered = answer.is_err() && allowed && found == Some((new, history));
                assert!(found == naive || unanswered, "seed {seed}: {found:?}, expected {naive:?}");
                naive = found;
            }
            assert_eq!(shown(&witness), naive, "seed {seed}");
        }
    }
}
