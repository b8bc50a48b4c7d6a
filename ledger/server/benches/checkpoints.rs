//! The start of a log that has kept a million checkpoints: what twelve days of one a second leave.
//!
//! The checkpoints are genuine, signed with the log's key over its trees, and lie as a log puts them; they
//! are only not made one second after the other. The index is made anew once, as it would have grown.
//! Each start is a process of its own: this program with `--open PATH`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use fixtures_bench::Report;
use ledger_keys::KeyFiles;
use ledger_protocol::Kind;
use ledger_protocol::body::{Body, OperatorAction};
use ledger_server::{Ledger, LogConfig, reindex};
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use messages::ledger::{APPEND_ENTRIES_MAX, AppendRequest, Group, IdempotencyKey, Item};
use serde_bytes::ByteBuf;

/// Checkpoints, one after each entry.
const CHECKPOINTS: u64 = 1_000_000;
/// Starts; the median counts.
const OPENINGS: usize = 5;
/// Files of one folder, as the log has it.
const SHARD_FILES: usize = 4_096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(path) = arguments.iter().skip_while(|argument| *argument != "--open").nth(1) {
        return opened(Path::new(path));
    }
    let count = if arguments.iter().any(|argument| argument == "--test") { 10_000 } else { CHECKPOINTS };
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let log = folder.path().join("log");
    grow(&log, count)?;
    sign_all(&log)?;
    let started = Instant::now();
    reindex(&log)?;
    let anew = started.elapsed().as_secs_f64();
    let mut found = Vec::new();
    for _ in 0..OPENINGS {
        let output = Command::new(std::env::current_exe()?).arg("--open").arg(&log).output()?;
        let text = String::from_utf8(output.stdout)?;
        let row = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
        found.push(row.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?);
    }
    let column = |at: usize| found.iter().filter_map(|row| row.get(at).copied()).collect::<Vec<_>>();
    let mut report = Report::new("ledger_checkpoints");
    report.add("ledger_open_1m_checkpoints_ms", "ms", column(0));
    report.add("ledger_rss_1m_checkpoints_mib", "MiB", column(1));
    report.add("ledger_reindex_1m_checkpoints_s", "s", vec![anew]);
    report.write()?;
    Ok(())
}

/// Opens the log and prints milliseconds and MiB resident.
#[expect(clippy::print_stdout, reason = "the answer to the process that started this one")]
fn opened(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let ledger = Ledger::open(&LogConfig::new(path))?;
    let open = started.elapsed().as_secs_f64() * 1e3;
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    println!("{open} {}", kib / 1024.0);
    drop(ledger);
    Ok(())
}

/// A log of a few more entries than `count`.
fn grow(log: &Path, count: u64) -> Result<(), Box<dyn std::error::Error>> {
    let ledger = Ledger::open(&LogConfig::new(log))?;
    let body = OperatorAction { action: "bench".into(), actor: "b".into(), target: None, detail: String::new() };
    let item = Item { kind: Kind::OperatorAction.number(), body: ByteBuf::from(body.encode()), after: None };
    for number in 0..count.div_ceil(APPEND_ENTRIES_MAX as u64) {
        let groups = vec![Group { agent: None, expected: None, items: vec![item.clone(); APPEND_ENTRIES_MAX] }];
        let idempotency_key = IdempotencyKey(u128::from(number).to_be_bytes());
        ledger.append_blocking(AppendRequest { version: 1, idempotency_key, groups })?;
    }
    ledger.close();
    Ok(())
}

/// Keeps a checkpoint after each entry, in the folders in which a log would have put them.
fn sign_all(log: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let signer = KeyFiles::new(log, "log").signer()?;
    let origin = signer.verifier().name().to_string();
    let leaves = fs::read(log.join("levels/0"))?;
    let root = log.join("checkpoints");
    let mut frontier = Frontier::new();
    let mut folder = root.clone();
    for (number, leaf) in leaves.as_chunks().0.iter().enumerate() {
        frontier.append(Hash::from_bytes(*leaf), |_, _, _| {});
        let head = frontier.tree_head();
        let name = head.tree_size.to_string();
        if number % SHARD_FILES == 0 && number > 0 {
            folder = root.join(format!("{:020}", head.tree_size));
            fs::create_dir(&folder)?;
        }
        let known = root.join(&name);
        if known.exists() {
            fs::rename(known, folder.join(name))?;
        } else {
            fs::write(folder.join(name), Checkpoint::new(&origin, head)?.sign(&signer)?.to_bytes())?;
        }
    }
    Ok(())
}
