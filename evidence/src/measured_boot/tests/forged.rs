//! The forged-evidence matrix: logs that are not what happened, in every bank and under every kind of policy.

use serde_json::json;

use super::support::{self, codes, full_alternative, policy};
use crate::boot_log::tests::builder::{self, Draft, Machine, SHA1, SHA256, SHA384};
use crate::boot_log::tests::vectors;
use crate::boot_log::{BootLog, LogFormat};
use crate::measured_boot::{Appraisal, FindingKind, KeylimePolicyName, Policy};
use crate::pcr::{PcrIndex, PcrValues};

/// The policy that judges no event: what it finds, every policy finds.
fn accept_all() -> Policy {
    Policy::keylime(KeylimePolicyName::AcceptAll, br#"{"any": 1}"#).unwrap()
}

fn mismatched(appraisal: &Appraisal) -> Vec<u8> {
    let mismatch = |kind: &FindingKind| match kind {
        FindingKind::PcrMismatch { register, .. } => Some(register.get()),
        _ => None,
    };
    appraisal.findings().iter().filter_map(|finding| mismatch(&finding.kind)).collect()
}

/// Judges forged events against the registers of what happened, in each bank.
fn judge_in_each_bank(forged: &[Draft], happened: &[Draft]) -> Vec<Vec<u8>> {
    let banks = [SHA1, SHA256, SHA384];
    let bytes = builder::agile(&banks, forged);
    let log = BootLog::parse(&bytes).unwrap();
    let judge = |bank: &u16| accept_all().appraise(&log, &support::quoted(*bank, happened, &support::QUOTED)).unwrap();
    banks.iter().map(|bank| mismatched(&judge(bank))).collect()
}

#[test]
fn the_true_log_passes_in_each_bank_and_says_that_nothing_was_judged() {
    let events = Machine::default().events();
    assert_eq!(judge_in_each_bank(&events, &events), vec![Vec::<u8>::new(); 3]);
    let appraisal = support::judge(&accept_all(), &events);
    assert!(appraisal.passed() && appraisal.everything_accepted());
}

#[test]
fn dropping_any_event_is_found_in_its_register_and_bank() {
    let events = Machine::default().events();
    for dropped in 0..events.len() {
        let mut forged = events.clone();
        let register = u8::try_from(forged.remove(dropped).register).unwrap();
        assert_eq!(judge_in_each_bank(&forged, &events), vec![vec![register]; 3], "event {dropped}");
    }
}

#[test]
fn reordering_events_of_one_register_is_found() {
    let events = Machine::default().events();
    let mut swaps = 0;
    for first in 0..events.len() {
        let same = |(_, event): &(usize, &Draft)| event.register == events[first].register;
        let Some((second, next)) = events.iter().enumerate().skip(first + 1).find(same) else { continue };
        if next.measured == events[first].measured {
            continue;
        }
        let mut forged = events.clone();
        forged.swap(first, second);
        let register = u8::try_from(events[first].register).unwrap();
        assert_eq!(judge_in_each_bank(&forged, &events), vec![vec![register]; 3], "events {first} and {second}");
        swaps += 1;
    }
    assert!(swaps > 15, "{swaps}");
}

#[test]
fn truncating_repeating_and_altering_is_found() {
    let events = Machine::default().events();
    for at in 0..events.len() {
        assert!(judge_in_each_bank(&events[..at], &events).iter().all(|found| !found.is_empty()), "cut before {at}");
        let mut repeated = events.clone();
        repeated.insert(at, events[at].clone());
        assert!(judge_in_each_bank(&repeated, &events).iter().all(|found| found.len() == 1), "{at} twice");
        let mut altered = events.clone();
        altered[at].measured.push(0);
        assert!(judge_in_each_bank(&altered, &events).iter().all(|found| found.len() == 1), "{at} altered");
    }
}

#[test]
fn a_log_spliced_from_two_boots_or_of_another_machine_is_found() {
    let events = Machine::default().events();
    let other = Machine { kernel: "backdoor", firmware: "firmware 0.9", ..Machine::default() }.events();
    assert_eq!(judge_in_each_bank(&events, &other), vec![vec![0, 4, 9]; 3]);
    for at in 4..events.len() - 8 {
        let spliced = [&events[..at], &other[at..]].concat();
        for happened in [&events, &other] {
            let found = judge_in_each_bank(&spliced, happened);
            assert!(found.iter().all(|found| !found.is_empty()), "spliced at {at}");
        }
    }
}

#[test]
fn a_bank_the_log_does_not_have_and_one_it_states_in_part_fail() {
    let events = Machine::default().events();
    let one = builder::agile(&[SHA256], &events);
    let log = BootLog::parse(&one).unwrap();
    let appraisal = accept_all().appraise(&log, &support::quoted(SHA384, &events, &support::QUOTED)).unwrap();
    assert!(codes(&appraisal).contains(&"bank-not-in-log"), "{:?}", appraisal.findings());

    let (last, before) = events.split_last().unwrap();
    let partly = [builder::agile(&[SHA1, SHA256], before), builder::agile_event(&[SHA256], last)].concat();
    let log = BootLog::parse(&partly).unwrap();
    let judged = |bank| accept_all().appraise(&log, &support::quoted(bank, &events, &support::QUOTED)).unwrap();
    assert_eq!((codes(&judged(SHA1)), codes(&judged(SHA256))), (vec!["digest-not-stated"], vec![]));
}

#[test]
fn a_register_the_log_is_silent_about_must_be_untouched() {
    let events = Machine::default().events();
    let mut happened = events.clone();
    happened.push(Draft::plain(13, builder::IPL, b"an extension"));
    assert_eq!(judge_in_each_bank(&events, &happened), vec![vec![13]; 3]);
    // IMA's register is not the boot log's.
    happened.pop();
    happened.push(Draft::plain(10, builder::IPL, b"a file"));
    assert_eq!(judge_in_each_bank(&events, &happened), vec![Vec::<u8>::new(); 3]);
}

#[test]
fn unmeasured_remarks_change_nothing() {
    let events = Machine::default().events();
    let mut remarked = events.clone();
    remarked.insert(0, Draft::plain(0, builder::NO_ACTION, b"SP800-155 Event3 of somebody"));
    remarked.push(Draft::plain(u32::MAX, builder::NO_ACTION, b"trust point"));
    assert!(
        support::judge_log(&policy(&[full_alternative()]), &builder::agile(&[SHA256], &remarked), &events).passed()
    );
    // A measured event called unmeasured is one that was dropped.
    let mut hidden = events.clone();
    let last = hidden.len() - 1;
    hidden[last].event_type = builder::NO_ACTION;
    assert_eq!(judge_in_each_bank(&hidden, &events), vec![vec![5]; 3]);
}

#[test]
fn reject_all_rejects_and_names_itself() {
    let policy = Policy::keylime(KeylimePolicyName::RejectAll, br#"{"any": 1}"#).unwrap();
    assert_eq!(codes(&support::judge(&policy, &Machine::default().events())), ["everything-is-rejected"]);
}

#[test]
fn real_logs_pass_only_with_their_own_registers() {
    let Some(logs) = vectors::logs() else { return };
    let parsed: Vec<_> = logs.iter().filter_map(|(name, bytes)| Some((name, BootLog::parse(bytes).ok()?))).collect();
    let tpm = |log: &BootLog<'_>| log.format() != LogFormat::ConfidentialComputing;
    let own: Vec<(&String, &BootLog<'_>, PcrValues)> = parsed
        .iter()
        .filter(|(name, log)| tpm(log) && !name.starts_with("malformed") && !name.starts_with("legacy"))
        .filter_map(|(name, log)| {
            let bank = log.banks().filter(|bank| bank.algorithm().name() != "sm3_256").last()?;
            let replay = log.replay(bank).unwrap();
            let mut values = PcrValues::new(bank);
            for index in PcrIndex::all().filter(|index| index.get() < 15) {
                values.insert(index, replay.value(log, index)).unwrap();
            }
            Some((*name, log, values))
        })
        .collect();
    assert!(own.len() > 40, "{}", own.len());
    let policy = accept_all();
    for (name, log, values) in &own {
        let gaps = PcrIndex::all().any(|index| log.replay(values.bank()).unwrap().gap(index).is_some());
        assert_eq!(policy.appraise(log, values).unwrap().passed(), !gaps, "{name}");
        for (other, _, others) in own.iter().filter(|(_, _, others)| others != values) {
            assert!(!policy.appraise(log, others).unwrap().passed(), "{name} with the registers of {other}");
        }
    }
}

#[test]
fn real_machines_secure_boot_is_read_as_it_is() {
    let Some(logs) = vectors::logs() else { return };
    let (mut on, mut off, mut undecided) = (0, 0, Vec::new());
    for (name, bytes) in &logs {
        let Ok(log) = BootLog::parse(bytes) else { continue };
        let Some(bank) = log.banks().find(|bank| bank.algorithm().meets_floor()) else { continue };
        let replay = log.replay(bank).unwrap();
        let mut values = PcrValues::new(bank);
        let seven = PcrIndex::try_from(7).unwrap();
        values.insert(seven, replay.value(&log, seven)).unwrap();
        let passes = |enabled: bool| {
            // What these machines say they did to Secure Boot, and a log cut off after its certificates.
            let actions = ["DMA Protection Disabled", "Security Level is Downgraded to 0"];
            let policy = policy(&[json!({"name": "", "secure_boot": {"enabled": enabled, "actions": actions}})]);
            policy.appraise(&log, &values).unwrap()
        };
        let (if_on, if_off) = (passes(true), passes(false));
        assert!(!(if_on.passed() && if_off.passed()), "{name}");
        on += u32::from(if_on.passed());
        off += u32::from(if_off.passed());
        if !if_on.passed() && !if_off.passed() {
            undecided.push(name.as_str());
        }
    }
    // A Power machine, confidential guests, a shim that logs its lists as firmware's variables, and single events.
    let expected = [
        "acs_tpm2bios.log",
        "ccel_cc_trusted_api.bin",
        "ccel_cos-113-intel-tdx.bin",
        "ccel_grub.bin",
        "ccel_ovmf.bin",
        "ccel_unpadded.bin",
        "deb1.log",
        "event-uefiaction.bin",
        "event-uefiservices.bin",
        "event-uefivar.bin",
    ];
    assert_eq!(undecided, expected);
    assert!(on >= 10 && off >= 10, "{on} on, {off} off");
}
