//! A log of ten million entries: how fast it opens, proves and is checked, and what it keeps in memory.
//!
//! Each measurement of opening and memory is a process of its own, which this program starts: itself
//! with `--open PATH`. For cold ones the system is told before to forget what it holds of the log's files;
//! it need not obey. With `--fifty-million` the log goes on to that size (20 GB of disk).

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use fixtures_bench::Report;
use ledger_protocol::Kind;
use ledger_protocol::body::{Body, OperatorAction};
use ledger_server::{Ledger, LogConfig, fsck};
use messages::ledger::{APPEND_ENTRIES_MAX, AppendRequest, Group, IdempotencyKey, Item};
use serde_bytes::ByteBuf;

/// Processes that open each log; the median counts.
const OPENINGS: usize = 5;
/// Callers at once while the log is made.
const CALLERS: u64 = 8;
/// Proofs at places not looked at before.
const FIRST_PROOFS: u64 = 100;
/// Proofs timed at random places.
const PROOFS: u64 = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(path) = arguments.iter().skip_while(|argument| *argument != "--open").nth(1) {
        return opened(Path::new(path));
    }
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    // Cargo's test runs build benchmarks and start them with `--test`: a small log will do.
    let scale = if has("--test") { 20_000 } else { 1_000_000 };
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let log = folder.path().join("log");
    let mut report = Report::new("ledger_large");
    let mut sizes = vec![(1, "1m"), (10, "10m")];
    if has("--fifty-million") {
        sizes.push((50, "50m"));
    }
    for (millions, name) in sizes {
        grow(&log, millions * scale)?;
        let (mut found, mut cold) = (Vec::new(), Vec::new());
        for _ in 0..OPENINGS {
            found.push(open_apart(&log)?);
        }
        for _ in 0..OPENINGS {
            forget(&log)?;
            cold.push(open_apart(&log)?);
        }
        let column = |at: usize| found.iter().filter_map(|row| row.get(at).copied()).collect::<Vec<_>>();
        let cold = |at: usize| cold.iter().filter_map(|row| row.get(at).copied()).collect::<Vec<_>>();
        report.add(&format!("ledger_open_{name}_cold_ms"), "ms", cold(0));
        report.add(&format!("ledger_proof_{name}_cold_us"), "us", cold(4));
        report.add(&format!("ledger_open_{name}_ms"), "ms", column(0));
        report.add(&format!("ledger_rss_{name}_mib"), "MiB", column(1));
        if millions == 10 {
            report.add("ledger_proof_first_us", "us", column(2));
            report.add("ledger_proof_warm_us", "us", column(3));
            let started = Instant::now();
            let checked = fsck(&log)?;
            assert!(checked.is_sound(), "{:?}", checked.findings);
            report.add(
                "ledger_fsck_entries_per_s",
                "1/s",
                vec![as_f64(checked.entries) / started.elapsed().as_secs_f64()],
            );
        }
    }
    report.write()?;
    Ok(())
}

/// What a process of its own prints that opens the log.
fn open_apart(log: &Path) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let output = Command::new(std::env::current_exe()?).arg("--open").arg(log).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
    Ok(numbers.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?)
}

/// Asks the system to drop what it holds in memory of all files below a folder.
fn forget(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else if path.is_file() {
            let file = std::fs::File::open(&path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Opens the log and prints: milliseconds, MiB resident after the proofs, microseconds of the first
/// proof, of a warm one (inclusion and consistency, together), and of one of the first
/// [`FIRST_PROOFS`], each at a place not looked at before.
#[expect(clippy::print_stdout, reason = "the answer to the process that started this one")]
fn opened(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let ledger = Ledger::open(&LogConfig::new(path))?;
    let open = started.elapsed().as_secs_f64() * 1e3;
    let size = ledger.info()?.durable_size;
    let mut place = 0x9e37_79b9_7f4a_7c15u64;
    let mut first = Vec::new();
    for turn in 0..2 * PROOFS {
        let started = Instant::now();
        // The second half asks for the same places again.
        if turn == PROOFS {
            place = 0x9e37_79b9_7f4a_7c15;
        }
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ledger.inclusion_proof((place >> 20) % size, size)?;
        ledger.consistency_proof(1 + (place >> 20) % (size - 1), size)?;
        if turn < FIRST_PROOFS {
            first.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let mut warm = Vec::new();
    for _ in 0..PROOFS {
        let started = Instant::now();
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ledger.inclusion_proof((place >> 20) % size, size)?;
        ledger.consistency_proof(1 + (place >> 20) % (size - 1), size)?;
        warm.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let very_first = first.first().copied().unwrap_or_default();
    let (first, warm) = (fixtures_bench::median(&first), fixtures_bench::median(&warm));
    println!("{open} {} {very_first} {warm} {first}", resident_mib()?);
    Ok(())
}

/// Appends 400-byte entries until the log has `size`.
fn grow(log: &Path, size: u64) -> Result<(), Box<dyn std::error::Error>> {
    let ledger = Ledger::open(&LogConfig::new(log))?;
    let begun = ledger.info()?.durable_size;
    let requests = size.saturating_sub(begun).div_ceil(APPEND_ENTRIES_MAX as u64);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in (caller..requests).step_by(8) {
                    let (action, actor) = ("bench".to_owned(), "b".repeat(256));
                    let body = OperatorAction { action, actor, target: None, detail: "d".repeat(62) };
                    let item =
                        Item { kind: Kind::OperatorAction.number(), body: ByteBuf::from(body.encode()), after: None };
                    let items = vec![item; APPEND_ENTRIES_MAX];
                    let groups = vec![Group { agent: None, expected: None, items }];
                    let idempotency_key = IdempotencyKey(u128::from(begun + number).to_be_bytes());
                    let answer = ledger.append_blocking(AppendRequest { version: 1, idempotency_key, groups });
                    assert!(answer.is_ok(), "{answer:?}");
                }
            });
        }
    });
    Ok(())
}

fn resident_mib() -> Result<f64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
