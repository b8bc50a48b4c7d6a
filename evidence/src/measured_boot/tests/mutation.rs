//! Random changes of logs never panic and never make a failing machine pass.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::support::{self, example, full_alternative, keylime_events, policy, reference_state};
use crate::algorithm::HashAlgorithm;
use crate::boot_log::tests::builder::{self, Draft, Machine, SHA256};
use crate::boot_log::tests::vectors;
use crate::boot_log::{BootLog, MalformedBootLog};
use crate::measured_boot::Policy;
use crate::pcr::{PcrBank, PcrIndex, PcrValues};

static DECLARATIVE: LazyLock<Policy> = LazyLock::new(|| policy(&[full_alternative()]));
static EXAMPLE: LazyLock<Policy> = LazyLock::new(|| example(&reference_state()));

#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Insert(usize, Vec<u8>),
    Set(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Change::Set(at, value)),
        1 => (any::<usize>(), 1..64_usize).prop_map(|(at, count)| Change::Cut(at, count)),
        1 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..64)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        let length = bytes.len().max(1);
        match change {
            Change::Cut(at, count) => {
                let start = (at % length).min(bytes.len());
                bytes.drain(start..(start + count).min(bytes.len()));
            }
            Change::Insert(at, inserted) => {
                let start = (at % length).min(bytes.len());
                bytes.splice(start..start, inserted.iter().copied());
            }
            Change::Set(at, value) => {
                if let Some(byte) = bytes.get_mut(at % length) {
                    *byte = *value;
                }
            }
        }
    }
}

/// A machine that fails, told by a log that was changed.
fn never_passes(policy: &Policy, happened: &[Draft], bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(log) = BootLog::parse(bytes) else { return Ok(()) };
    let quoted = support::quoted(SHA256, happened, &support::QUOTED);
    let appraisal = policy.appraise(&log, &quoted).unwrap();
    prop_assert!(!appraisal.passed());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_its_log_makes_a_failing_machine_pass(
        changes in prop::collection::vec(change(), 1..6),
        which in 0..4_usize,
    ) {
        let good = Machine::default;
        let machine = [
            Machine { secure_boot: 0, ..good() },
            Machine { kernel: "backdoor", ..good() },
            Machine { command_line: "/vmlinuz-6.1 init=/bin/sh", ..good() },
            Machine { db: vec!["attacker"], ..good() },
        ][which].clone();
        let events = machine.events();
        let mut bytes = builder::agile(&[SHA256], &events);
        apply(&mut bytes, &changes);
        never_passes(&DECLARATIVE, &events, &bytes)?;

        let events = keylime_events(&machine);
        let mut bytes = builder::agile(&[SHA256], &events);
        apply(&mut bytes, &changes);
        never_passes(&EXAMPLE, &events, &bytes)?;
    }

    #[test]
    fn a_changed_log_that_passes_measures_the_same(changes in prop::collection::vec(change(), 1..4)) {
        let events = Machine::default().events();
        let mut bytes = builder::agile(&[SHA256], &events);
        apply(&mut bytes, &changes);
        let quoted = support::quoted(SHA256, &events, &support::QUOTED);
        if let Ok(log) = BootLog::parse(&bytes)
            && DECLARATIVE.appraise(&log, &quoted).unwrap().passed()
        {
            let bank = PcrBank(HashAlgorithm::Sha256);
            let found: Vec<Vec<u8>> = log.events().iter().filter(|event| event.is_measured())
                .map(|event| event.digest(bank).unwrap().as_bytes().to_vec()).collect();
            let measured: Vec<Vec<u8>> =
                events.iter().map(|event| builder::digest(SHA256, &event.measured)).collect();
            // Events of different registers may stand in another order; each register's own order is the replay's.
            prop_assert_eq!(found.len(), measured.len());
        }
    }

    #[test]
    fn any_bytes_parse_or_err_in_their_place(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Err(MalformedBootLog::Truncated { offset, left, .. }) = BootLog::parse(&bytes) {
            prop_assert_eq!(offset + left, bytes.len());
        }
    }
}

#[test]
fn changed_logs_of_real_machines_never_panic_and_never_replay_to_more_than_they_say() {
    let Some(logs) = vectors::logs() else { return };
    // A fixed sequence of changes, so that a failure comes again: multiplication by an odd number walks all positions.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    for (name, bytes) in logs {
        // The padding of CCEL logs is the same test over and over.
        let end = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 64).min(bytes.len());
        for _ in 0..30 {
            let mut changed = bytes[..end].to_vec();
            for _ in 0..1 + next(4) {
                let at = next(changed.len());
                changed[at] = u8::try_from(next(256)).unwrap();
            }
            let Ok(log) = BootLog::parse(&changed) else { continue };
            for bank in log.banks().filter(|bank| bank.algorithm() != HashAlgorithm::Sm3_256) {
                let examined = log.examine(bank).unwrap();
                let words: usize = examined.iter().map(|event| event.details.to_string().len()).sum();
                assert!(words < 64 * changed.len() + 65_536, "{name}: {words} bytes of words");
                let replay = log.replay(bank).unwrap();
                let mut values = PcrValues::new(bank);
                for index in PcrIndex::all() {
                    values.insert(index, replay.value(&log, index)).unwrap();
                }
                let judged = DECLARATIVE.appraise(&log, &values).unwrap();
                assert!(!judged.passed(), "{name}");
            }
        }
    }
}
