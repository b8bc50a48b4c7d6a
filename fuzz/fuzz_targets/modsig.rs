//! No bytes behind a module are a good signature of it, in an entry that is right in all else.
#![no_main]

use std::sync::{Arc, LazyLock};

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    ima::{Evidence, MeasurementState, Policies, appraise},
    pcr::{PcrBank, PcrIndex},
    runtime_policy::{PolicyBuilder, PolicyLayer, PolicyStack},
};

/// A policy with a key that signs files, and without the module.
static POLICY: LazyLock<PolicyStack> = LazyLock::new(|| {
    let json = include_bytes!("../seeds/runtime_policy/keys");
    let policy = PolicyBuilder::from_keylime_json(json).expect("a policy").compile().expect("a policy");
    PolicyStack::new(vec![PolicyLayer { name: "fuzz".to_owned(), policy: Arc::new(policy) }]).expect("one layer")
});

libfuzzer_sys::fuzz_target!(|signature: &[u8]| {
    let hash = |algorithm: HashAlgorithm, data: &[u8]| algorithm.digest(data).expect("the library hashes");
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_le_bytes(), bytes].concat();
    let digest = [b"sha256:\0".as_slice(), hash(HashAlgorithm::Sha256, b"module").as_bytes()].concat();
    let fields = [&digest, b"/usr/lib/modules/x.ko\0".as_slice(), b"", &digest, signature];
    let data: Vec<u8> = fields.iter().flat_map(|field| sized(field)).collect();
    let list = [
        &10_u32.to_le_bytes(),
        hash(HashAlgorithm::Sha1, &data).as_bytes(),
        &sized(b"ima-modsig"),
        &sized(&data),
    ]
    .concat();
    let zero = Digest::zero(HashAlgorithm::Sha256);
    let extended = [zero.as_bytes(), hash(HashAlgorithm::Sha256, &data).as_bytes()].concat();
    let quoted = hash(HashAlgorithm::Sha256, &extended);
    let state = MeasurementState::new(PcrIndex::try_from(10).expect("below 24"), PcrBank(HashAlgorithm::Sha256));
    let evidence = Evidence { list: &list, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
    let policies = Policies { current: &POLICY, earlier: &[] };
    let appraisal = appraise(&evidence, &policies, &state).expect("the library hashes");
    assert!(appraisal.authentic, "the entry is what was extended");
    assert!(!appraisal.passed());
});
