//! A boot log judged, beside the bare hashing of the same bytes.
//!
//! Parse, replay of two banks and a declarative policy over a generated log of some 60 KB; the hashing is of the same
//! number of extensions and of every event's data, in both banks, by the same library. Both run in turns.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Instant;

use evidence::algorithm::{Digest, HashAlgorithm};
use evidence::boot_log::BootLog;
use evidence::measured_boot::Policy;
use evidence::pcr::{PcrBank, PcrIndex, PcrValues};
use fixtures_bench::Report;
use openssl::md::Md;
use openssl::md_ctx::MdCtx;

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../src/boot_log/tests/builder.rs"]
mod builder;

use builder::{Draft, Machine, SHA1, SHA256};

/// Turns taken; each is one sample of both.
const SAMPLES: usize = 25;
/// Logs judged in a turn: some 10 ms, far above the clock's grain.
const LOGS: u32 = 40;
/// Commands and revoked images that bring the log to the length of a real one with some 120 events.
const COMMANDS: usize = 80;
const REVOKED: usize = 700;

fn main() {
    let revoked: Vec<&'static str> = (0..REVOKED).map(|number| format!("revoked {number}").leak() as &str).collect();
    let machine = Machine { more_commands: COMMANDS, dbx: revoked, ..Machine::default() };
    let events = machine.events();
    let bytes = builder::agile(&[SHA1, SHA256], &events);
    let policy = policy();
    let (sha1, sha256) = (values(SHA1, &events), values(SHA256, &events));

    let whole = || {
        let log = BootLog::parse(&bytes).unwrap();
        assert_eq!(log.replay(PcrBank(HashAlgorithm::Sha1)).unwrap().values().get(index(7)), sha1.get(index(7)));
        let appraisal = policy.appraise(&log, &sha256).unwrap();
        assert!(black_box(appraisal).passed());
    };
    let bare = || {
        for name in ["SHA1", "SHA256"] {
            black_box(hash_all(name, &events));
        }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    time(&whole);
    time(&bare);
    for _ in 0..SAMPLES {
        ours.push(time(&whole));
        theirs.push(time(&bare));
    }
    let mut report = Report::new("boot_log");
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    report.add("boot_log_us", "us", ours);
    report.add("boot_log_bare_hash_us", "us", theirs);
    report.add("boot_log_ratio", "1", ratios);
    report.add("boot_log_kib", "KiB", vec![f64::from(u32::try_from(bytes.len()).unwrap()) / 1024.0]);
    report.add("boot_log_events", "1", vec![f64::from(u32::try_from(events.len() + 1).unwrap())]);
    report.write().expect("the target folder can be written");
}

/// Microseconds for one log.
fn time(judge: &impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..LOGS {
        judge();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(LOGS)
}

/// Each event's data, and one extension for each.
fn hash_all(name: &str, events: &[Draft]) -> [u8; 64] {
    let (md, mut context) = (Md::fetch(None, name, None).unwrap(), MdCtx::new().unwrap());
    let (mut register, mut digest) = ([0; 64], [0; 64]);
    let size = md.size();
    for event in events {
        context.digest_init(&md).unwrap();
        context.digest_update(&event.data).unwrap();
        context.digest_final(&mut digest[..size]).unwrap();
        context.digest_init(&md).unwrap();
        context.digest_update(&register[..size]).unwrap();
        context.digest_update(&digest[..size]).unwrap();
        context.digest_final(&mut register[..size]).unwrap();
    }
    register
}

fn policy() -> Policy {
    let digests = |contents: &[&str]| {
        let texts = contents.iter().map(|text| format!("\"{}\"", named(text.as_bytes())));
        texts.collect::<Vec<_>>().join(",")
    };
    let key = |name: &str| format!("\"x509:{}\"", hex::encode(builder::digest(SHA256, &builder::certificate(name))));
    let revoked: Vec<String> =
        (0..REVOKED / 2).map(|number| format!("\"{}\"", named(format!("revoked {number}").as_bytes()))).collect();
    let document = format!(
        r#"{{"version": 1, "accept": [{{
            "name": "bench",
            "secure_boot": {{"enabled": true, "pk": [{platform}], "kek": [{platform}], "db": [{vendor}],
                             "dbx_required": [{revoked}]}},
            "images": {{"digests": [{images}], "signers": [{vendor}]}},
            "command_line": {{"patterns": ["/vmlinuz-[0-9.]+ root=/dev/vda1 ro"],
                              "grub_commands": ["linux /vmlinuz-[0-9.]+ root=/dev/vda1 ro", "set variable_[0-9]+=value"]}},
            "kernels": [{kernel}], "initrds": [{initrd}], "boot_files": [{files}], "mok": [{mok}]
        }}]}}"#,
        platform = key("platform"),
        vendor = key("vendor"),
        revoked = revoked.join(","),
        images = digests(&["shim", "grub", "linux 6.1"]),
        kernel = digests(&["linux 6.1"]),
        initrd = digests(&["initrd 6.1"]),
        files = digests(&["grub.cfg"]),
        mok = digests(&["mok list", "mok list x"]),
    );
    Policy::from_json(document.as_bytes()).unwrap()
}

fn named(contents: &[u8]) -> String {
    format!("sha256:{}", hex::encode(builder::digest(SHA256, contents)))
}

fn values(bank: u16, events: &[Draft]) -> PcrValues {
    let algorithm = HashAlgorithm::from_tpm_id(bank).unwrap();
    let mut values = PcrValues::new(PcrBank(algorithm));
    for (number, value) in builder::registers(bank, events) {
        if number < 15 {
            values.insert(index(number), Digest::new(algorithm, &value).unwrap()).unwrap();
        }
    }
    values
}

fn index(number: u8) -> PcrIndex {
    PcrIndex::try_from(number).unwrap()
}
