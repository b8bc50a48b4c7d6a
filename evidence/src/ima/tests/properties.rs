//! What holds for any bytes and any split.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::testing::recorded;

/// A list with files of the policy, others, signatures, buffers and violations.
fn any_list() -> impl Strategy<Value = ListBuilder> {
    proptest::collection::vec((0..6_u8, 0..4_u8), 1..24).prop_map(|entries| {
        let mut list = small_list();
        for (kind, number) in entries {
            let path = format!("/opt/{number}");
            match kind {
                0 => list.file("/usr/bin/sh", b"sh"),
                1 => list.file(&path, b"x"),
                2 => list.signed("/usr/bin/init", b"init", &[number]),
                3 => list.buffer("kexec-cmdline", &[number]),
                4 => list.violation(&path),
                _ => list.original(&path, b"y"),
            };
        }
        list
    })
}

/// A list of files of the policy only: it passes.
fn good_list() -> impl Strategy<Value = ListBuilder> {
    proptest::collection::vec(any::<bool>(), 0..12).prop_map(|entries| {
        let mut list = small_list();
        for first in entries {
            if first {
                list.file("/usr/bin/sh", b"sh")
            } else {
                list.signed("/usr/bin/init", b"init", b"")
            };
        }
        list
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = ListSummary::of(&bytes);
        let _ = MeasurementState::decode(&bytes);
    }

    #[test]
    fn increments_come_to_what_the_whole_comes_to(list in any_list(), splits in proptest::collection::vec(any::<Index>(), 0..4)) {
        let stack = stack(&small_policy());
        let whole = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256));
        let mut ends: Vec<usize> = splits.iter().map(|split| split.index(list.entries.len()) + 1).collect();
        ends.push(list.entries.len());
        ends.sort_unstable();
        let mut known = state(HashAlgorithm::Sha256);
        let mut last = None;
        for end in ends {
            let sent = list.select(0..end);
            let from = usize::try_from(known.next_entry()).unwrap();
            let round = Round { from, ..Round::whole(&sent) }.appraise(&stack, &known);
            known = MeasurementState::decode(&round.state.encode()).unwrap();
            last = Some(round);
        }
        let last = last.unwrap();
        prop_assert_eq!(last.passed(), whole.passed());
        prop_assert_eq!(last.findings, whole.findings);
        prop_assert_eq!(last.state.next_entry(), whole.state.next_entry());
        prop_assert_eq!(last.state.register(), whole.state.register());
    }

    #[test]
    fn no_changed_byte_turns_fail_into_pass(list in any_list(), at in any::<Index>(), change in 1..=255_u8) {
        let stack = stack(&small_policy());
        let whole = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256));
        let quoted = Digest::new(HashAlgorithm::Sha256, &list.register(MessageDigest::sha256(), list.entries.len())).unwrap();
        for mut bytes in [list.ascii(), list.binary()] {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let evidence = Evidence { list: &bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
            let told = appraise(&evidence, &Policies { current: &stack, earlier: &[] }, &state(HashAlgorithm::Sha256)).unwrap();
            prop_assert!(whole.passed() || !told.passed());
        }
    }

    #[test]
    fn a_changed_byte_of_a_good_binary_list_is_told(list in good_list(), at in any::<Index>(), change in 1..=255_u8) {
        let stack = stack(&small_policy());
        let quoted = Digest::new(HashAlgorithm::Sha256, &list.register(MessageDigest::sha256(), list.entries.len())).unwrap();
        let mut bytes = list.binary();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let evidence = Evidence { list: &bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
        let told = appraise(&evidence, &Policies { current: &stack, earlier: &[] }, &state(HashAlgorithm::Sha256)).unwrap();
        prop_assert!(!told.passed());
    }
}

#[test]
fn mutations_of_recorded_lists_never_pass_nor_panic() {
    // A generator of our own, so that a failure comes again.
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random).unwrap() % below
    };
    let stack = stack(&serde_json::json!({"excludes": ["/usr/.*"]}));
    let policies = Policies { current: &stack, earlier: &[] };
    for name in
        ["ibmtss_imatest.log", "keylime_tests_ima-sig.txt", "keylime_tests_ima-buf_dm.txt", "tss_sml-ima-sha1.bin"]
    {
        let Some(original) = recorded(&format!("ima/{name}")) else { return };
        for _ in 0..2_000 {
            let mut bytes = original.clone();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).unwrap();
            }
            bytes.truncate(bytes.len() - next(2) * next(bytes.len()));
            let summary = ListSummary::of(&bytes);
            let quoted = match &summary {
                Ok(summary) => summary.registers.values().next().copied(),
                Err(_) => None,
            };
            let quoted = quoted.unwrap_or(Digest::zero(HashAlgorithm::Sha1));
            let evidence = Evidence { list: &bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
            let told = appraise(&evidence, &policies, &state(quoted.algorithm())).unwrap();
            assert!(!told.passed(), "{name}");
        }
    }
}
