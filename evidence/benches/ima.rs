//! IMA lists parsed, replayed and judged against a compiled policy, beside the bare hashing and signature checks the
//! same lists need.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

#[path = "../src/ima/tests/builder.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod builder;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use builder::{ListBuilder, attribute, sha256};
use evidence::algorithm::{Digest, HashAlgorithm};
use evidence::ima::{Evidence, MeasurementState, Policies, appraise};
use evidence::pcr::{PcrBank, PcrIndex};
use evidence::runtime_policy::{PolicyBuilder, PolicyLayer, PolicyStack, RuntimePolicy, Table};
use fixtures_bench::Report;
use openssl::base64::encode_block;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::md::Md;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::sha::{Sha1, Sha256};

const ENTRIES: usize = 100_000;
const SIGNED: usize = 2_000;
const SAMPLES: usize = 9;

fn main() {
    let mut report = Report::new("ima");
    let list = list(ENTRIES);
    let stack = stack(policy(&list).compile().unwrap());
    lines(&mut report, &list, &stack);
    increment(&mut report, &list, &stack);
    policies(&mut report, &list);
    signatures(&mut report);
    report.write().expect("target/bench is writable");
}

/// A list with paths as a distribution has them.
fn list(entries: usize) -> ListBuilder {
    let mut list = ListBuilder::default();
    list.file("boot_aggregate", b"aggregate");
    for number in 1..entries {
        list.file(&path(number), &number.to_le_bytes());
    }
    list
}

fn path(number: usize) -> String {
    match number % 4 {
        0 => format!("/usr/bin/tool-{number}"),
        1 => format!("/usr/lib/x86_64-linux-gnu/lib{number}.so.{}", number % 7),
        2 => format!("/usr/lib/modules/6.8.0-45-generic/kernel/drivers/net/{}/mod{number}.ko", number / 100),
        _ => format!("/usr/share/package-{}/scripts/helper_{number}.sh", number / 50),
    }
}

fn policy(list: &ListBuilder) -> PolicyBuilder {
    let mut policy = PolicyBuilder::new();
    for entry in &list.entries {
        let (digest, path) = entry.text.split_once(' ').unwrap();
        policy.allow(Table::Files, path.as_bytes(), [digest]).unwrap();
    }
    policy.exclude(["/tmp/.*".to_owned(), "/var/log/.*".to_owned(), r"/home/[^/]+/\.cache/.*".to_owned()]);
    policy
}

fn stack(policy: RuntimePolicy) -> PolicyStack {
    PolicyStack::new(vec![PolicyLayer { name: "base".to_owned(), policy: Arc::new(policy) }]).unwrap()
}

fn state(bank: HashAlgorithm) -> MeasurementState {
    MeasurementState::new(PcrIndex::try_from(10).unwrap(), PcrBank(bank))
}

fn evidence<'a>(list: &'a [u8], first_entry: u64, bank: HashAlgorithm, register: &[u8]) -> Evidence<'a> {
    let quoted = Digest::new(bank, register).unwrap();
    Evidence { list, first_entry, quoted, reset_count: 1, boot_aggregates: &[] }
}

fn lines(report: &mut Report, list: &ListBuilder, stack: &PolicyStack) {
    let forms = [("", list.ascii()), ("binary_", list.binary())];
    let cases = [
        ("lines", HashAlgorithm::Sha1, MessageDigest::sha1()),
        ("lines_rehash", HashAlgorithm::Sha256, MessageDigest::sha256()),
    ];
    for (form, bytes) in &forms {
        for (name, bank, digest) in cases {
            let register = list.register(digest, ENTRIES);
            let evidence = evidence(bytes, 0, bank, &register);
            let whole = || {
                let policies = Policies { current: stack, earlier: &[] };
                let appraisal = appraise(&evidence, &policies, &state(bank)).unwrap();
                assert!(appraisal.passed() && appraisal.judged == ENTRIES as u64);
            };
            report.add(&format!("ima_{form}{name}_per_s"), "1/s", rates(ENTRIES, whole));
        }
    }
    // The hashing that no replay can do without: of the data, and of the register.
    let data: Vec<&[u8]> = list.entries.iter().map(|entry| entry.data.as_slice()).collect();
    let sha1 = || {
        let mut register = [0; 20];
        for data in &data {
            let mut hash = Sha1::new();
            hash.update(data);
            let template = hash.finish();
            let mut hash = Sha1::new();
            hash.update(&register);
            hash.update(&template);
            register = hash.finish();
        }
        black_box(register);
    };
    report.add("ima_bare_sha1_lines_per_s", "1/s", rates(ENTRIES, sha1));
    let both = || {
        let mut register = [0; 32];
        for data in &data {
            let mut hash = Sha1::new();
            hash.update(data);
            black_box(hash.finish());
            let mut hash = Sha256::new();
            hash.update(data);
            let template = hash.finish();
            let mut hash = Sha256::new();
            hash.update(&register);
            hash.update(&template);
            register = hash.finish();
        }
        black_box(register);
    };
    report.add("ima_bare_sha1_and_sha256_lines_per_s", "1/s", rates(ENTRIES, both));
}

/// Five lines more on a list of 100,000.
fn increment(report: &mut Report, list: &ListBuilder, stack: &PolicyStack) {
    let (bank, before) = (HashAlgorithm::Sha256, ENTRIES - 5);
    let policies = Policies { current: stack, earlier: &[] };
    let first = list.select(0..before).ascii();
    let register = list.register(MessageDigest::sha256(), before);
    let known = appraise(&evidence(&first, 0, bank, &register), &policies, &state(bank)).unwrap();
    assert!(known.passed());
    let bytes = list.select(before..ENTRIES).ascii();
    let register = list.register(MessageDigest::sha256(), ENTRIES);
    let evidence = evidence(&bytes, before as u64, bank, &register);
    let once = || {
        let appraisal = appraise(&evidence, &policies, &known.state).unwrap();
        assert!(appraisal.passed() && appraisal.judged == 5);
    };
    let samples = (0..SAMPLES).map(|_| seconds(1_000, once) * 1e6 / 1_000.0).collect();
    report.add("ima_increment_us", "us", samples);
}

fn policies(report: &mut Report, list: &ListBuilder) {
    let compiled = policy(list).compile().unwrap();
    assert_eq!(compiled.len(), ENTRIES);
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB")]
    let mib = compiled.memory_bytes() as f64 / f64::from(1 << 20);
    report.add("policy_100k_mib", "MiB", vec![mib]);
    let bytes = compiled.as_bytes().to_vec();
    let load = || assert_eq!(RuntimePolicy::load(bytes.clone()).unwrap().id(), compiled.id());
    report.add("policy_100k_load_ms", "ms", (0..SAMPLES).map(|_| seconds(1, load) * 1e3).collect());

    let json = keylime_json(list, 5_000_000);
    let compile = || drop(black_box(PolicyBuilder::from_keylime_json(&json).unwrap().compile().unwrap()));
    report.add("policy_json_5mb_compile_ms", "ms", (0..SAMPLES).map(|_| seconds(1, compile) * 1e3).collect());
}

/// Keylime's JSON of at least so many bytes.
fn keylime_json(list: &ListBuilder, bytes: usize) -> Vec<u8> {
    let mut json = String::from(r#"{"meta": {"version": 1, "generator": 3}, "release": 0, "digests": {"#);
    for (number, entry) in list.entries.iter().enumerate() {
        if json.len() >= bytes {
            break;
        }
        let (digest, path) = entry.text.split_once(' ').unwrap();
        let comma = if number == 0 { "" } else { ", " };
        write!(json, "{comma}\"{path}\": [\"{}\"]", digest.trim_start_matches("sha256:")).unwrap();
    }
    json.push_str(r#"}, "excludes": ["/tmp/.*"], "keyrings": {}, "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null}, "ima-buf": {}, "verification-keys": ""}"#);
    json.into_bytes()
}

/// Files that are not listed, each with a signature of a key of the policy.
fn signatures(report: &mut Report) {
    let key = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let key = PKey::from_ec_key(key).unwrap();
    let public = PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap();
    let mut list = ListBuilder::default();
    let mut checks = Vec::new();
    for number in 0..SIGNED {
        let content = number.to_le_bytes();
        let signature = sign(&key, &sha256(&content));
        list.signed(&path(number), &content, &attribute(3, 2, 4, 7, &signature));
        checks.push((sha256(&content), signature));
    }
    let keyring = format!(
        r#"{{"meta": {{"version": 1}}, "keyids": [7], "pubkeys": ["{}"]}}"#,
        encode_block(&public.public_key_to_der().unwrap())
    );
    let json = serde_json::json!({
        "meta": {"version": 1, "generator": 3}, "release": 0, "digests": {}, "excludes": [], "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null}, "ima-buf": {}, "verification-keys": keyring,
    });
    let stack = stack(PolicyBuilder::from_keylime_json(json.to_string().as_bytes()).unwrap().compile().unwrap());
    let (bytes, bank) = (list.ascii(), HashAlgorithm::Sha256);
    let register = list.register(MessageDigest::sha256(), SIGNED);
    let evidence = evidence(&bytes, 0, bank, &register);
    let ours =
        || assert!(appraise(&evidence, &Policies { current: &stack, earlier: &[] }, &state(bank)).unwrap().passed());
    let bare = || checks.iter().for_each(|(digest, signature)| assert!(verify(&public, digest, signature)));
    seconds(1, ours);
    let pairs: Vec<(f64, f64)> = (0..SAMPLES).map(|_| (seconds(1, ours), seconds(1, bare))).collect();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = |time: &f64| SIGNED as f64 / time;
    report.add("ima_sig_lines_per_s", "1/s", pairs.iter().map(|(ours, _)| rate(ours)).collect());
    report.add("ima_bare_sig_per_s", "1/s", pairs.iter().map(|(_, bare)| rate(bare)).collect());
    report.add("ima_sig_ratio", "1", pairs.iter().map(|(ours, bare)| ours / bare).collect());
}

fn sign(key: &PKey<Private>, digest: &[u8]) -> Vec<u8> {
    let mut context = PkeyCtx::new(key).unwrap();
    context.sign_init().unwrap();
    context.set_signature_md(Md::sha256()).unwrap();
    let mut signature = Vec::new();
    context.sign_to_vec(digest, &mut signature).unwrap();
    signature
}

fn verify(key: &PKey<Public>, digest: &[u8], signature: &[u8]) -> bool {
    let mut context = PkeyCtx::new(key).unwrap();
    context.verify_init().unwrap();
    context.set_signature_md(Md::sha256()).unwrap();
    context.verify(digest, signature).unwrap()
}

fn rates(count: usize, work: impl Fn()) -> Vec<f64> {
    seconds(1, &work);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    (0..SAMPLES).map(|_| count as f64 / seconds(1, &work)).collect()
}

fn seconds(times: u32, work: impl Fn()) -> f64 {
    let start = Instant::now();
    (0..times).for_each(|_| work());
    start.elapsed().as_secs_f64()
}
