//! A list of either form that can be summed up replays to the register it was summed up to, and to no other one.

use std::sync::{Arc, LazyLock};

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    ima::{Evidence, ListForm, ListSummary, MeasurementState, Policies, Replay, appraise},
    pcr::{PcrBank, PcrIndex},
    runtime_policy::{PolicyBuilder, PolicyLayer, PolicyStack},
};

/// A policy with files, excludes, keyrings, buffers and a key that signs files, so that every judge is asked.
static POLICY: LazyLock<PolicyStack> = LazyLock::new(|| {
    let json = include_bytes!("../../seeds/runtime_policy/keys");
    let policy = PolicyBuilder::from_keylime_json(json).expect("a policy").compile().expect("a policy");
    PolicyStack::new(vec![PolicyLayer { name: "fuzz".to_owned(), policy: Arc::new(policy) }]).expect("one layer")
});

pub fn check(bytes: &[u8], form: ListForm) {
    let Ok(summary) = ListSummary::of(bytes) else { return };
    if summary.form != form {
        return;
    }
    let passes = |quoted: Digest| {
        let register = PcrIndex::try_from(10).expect("below 24");
        let state = MeasurementState::new(register, PcrBank(quoted.algorithm()));
        let evidence = Evidence { list: bytes, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
        let policies = Policies { current: &POLICY, earlier: &[] };
        let appraisal = appraise(&evidence, &policies, &state).expect("the library hashes");
        assert!(appraisal.authentic || !appraisal.passed());
        appraisal.authentic
    };
    let whole = summary.registers.get(&(10, Replay::Recomputed(HashAlgorithm::Sha256)));
    if let Some(whole) = whole
        && summary.by_register.len() == 1
        && summary.mismatches.count == 0
        && summary.log_hash == POLICY.log_hash()
    {
        assert!(passes(*whole), "a list that gives the quoted register is authentic");
    }
    let other = Digest::new(HashAlgorithm::Sha256, &[0x5a; 32]).expect("32 bytes");
    assert!(!passes(other), "a list of another register is not");
}
