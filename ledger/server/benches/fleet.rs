//! Memory and start of a ledger with the histories of a large fleet.
//!
//! 100,000 machines are enrolled and attest a number of times, a quote and a verdict each. Then the log is opened anew in a
//! process of its own, with and without histories, which tells how long it took until proofs could be made and what is
//! resident then: the whole process, nothing subtracted. A machine's history holds one node of 88 bytes for each set bit of
//! its number of leaves, so 15 rounds need as many as 195 or 300 do; `-- ROUNDS` makes another number.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixtures_bench::{Report, process};
use ledger_protocol::body::{
    AgentPolicy, Body, Enrol, ImaDelta, ImaState, PolicyBody, QuoteBody, Verdict, VerdictResult,
};
use ledger_protocol::{Beacon, Kind};
use ledger_server::{HistoriesConfig, Ledger, LogConfig};
use messages::ledger::{AppendRequest, Group, GroupResult, Head, IdempotencyKey, Item};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;

type Failed = Box<dyn std::error::Error>;

const MACHINES: usize = 100_000;
/// Quotes of each machine.
const ROUNDS: usize = 15;
/// Groups of two entries in one request.
const GROUPS: usize = 512;
/// Starts, each in a process of its own.
const STARTS: usize = 5;
/// What tells a process to open a log and nothing else.
const REOPEN: &str = "--reopen";

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, path, histories] = arguments.as_slice()
        && flag == REOPEN
    {
        return reopen(Path::new(path), histories == "true");
    }
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = arguments.iter().any(|argument| argument == "--test");
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let (machines, rounds) = if trial { (100, 2) } else { (MACHINES, rounds) };
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let path = folder.path().join("log");
    let mut report = Report::new("ledger_fleet");
    fill(&path, machines, rounds, &mut report)?;
    for (name, histories) in [("with", true), ("without", false)] {
        let (mut seconds, mut mib) = (Vec::new(), Vec::new());
        for _ in 0..if trial { 1 } else { STARTS } {
            let own = std::env::current_exe()?;
            let started = Command::new(own).arg(REOPEN).arg(&path).arg(histories.to_string()).output()?;
            let told = String::from_utf8(started.stdout)?;
            let mut numbers = told.split_whitespace().map(str::parse::<f64>);
            seconds.push(numbers.next().ok_or_else(|| String::from_utf8_lossy(&started.stderr).into_owned())??);
            mib.push(numbers.next().ok_or("two numbers")??);
        }
        report.add(&format!("fleet_start_{name}_histories_s"), "s", seconds);
        report.add(&format!("fleet_resident_{name}_histories_mib"), "MiB", mib);
    }
    report.write()?;
    Ok(())
}

fn config(path: &Path, histories: bool) -> LogConfig {
    let mut config = LogConfig::new(path);
    config.histories = histories.then(HistoriesConfig::default);
    config
}

/// Opens the log, and tells seconds until proofs can be made and MiB that are resident then.
fn reopen(path: &Path, histories: bool) -> Result<(), Failed> {
    let started = Instant::now();
    let ledger = Ledger::open(&config(path, histories))?;
    let durable = ledger.info()?.durable_size;
    wait_until(|| ledger.histories_size().is_none_or(|size| size >= durable));
    let seconds = started.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{seconds} {}", process::resident_mib())?;
    Ok(())
}

/// Enrols the machines and lets each attest so many times.
fn fill(path: &Path, machines: usize, rounds: usize, report: &mut Report) -> Result<(), Failed> {
    let ledger = Ledger::open(&config(path, true))?;
    let note = std::fs::read(path.join("checkpoint"))?;
    // Its own size: another may be published by now.
    let tree_size = std::str::from_utf8(&note)?.lines().nth(1).ok_or("a note without a size")?.parse()?;
    let beacon = Beacon { tree_size, note_digest: Digest(openssl::sha::sha256(&note)) };
    let mut fleet: Vec<(AgentId, Head)> = (0..machines)
        .map(|number| Ok((format!("hypervisor-{number}").parse()?, Head::default())))
        .collect::<Result<_, Failed>>()?;
    let mut key = 0u128;
    let first_slot = ledger.info()?.next_slot;
    let policy = item(&PolicyBody::Agent(policy()));
    for (chunk, part) in fleet.chunks_mut(GROUPS).enumerate() {
        let slots = first_slot + (chunk * GROUPS) as u64..;
        let items: Vec<[Item; 2]> = part.iter().zip(slots).map(|(_, slot)| [enrol(slot), policy.clone()]).collect();
        append(&ledger, &mut key, part, items)?;
    }
    let round = round(beacon);
    let started = Instant::now();
    for _ in 0..rounds {
        for part in fleet.chunks_mut(GROUPS) {
            let items = vec![round.clone(); part.len()];
            append(&ledger, &mut key, part, items)?;
        }
    }
    drop(fleet);
    let durable = ledger.info()?.durable_size;
    wait_until(|| ledger.histories_size().is_some_and(|size| size >= durable));
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = (2 * machines * rounds) as f64 / started.elapsed().as_secs_f64();
    report.add("fleet_entries_per_s", "1/s", vec![rate]);
    report.add("fleet_resident_after_appending_mib", "MiB", vec![process::resident_mib()]);
    ledger.close();
    Ok(())
}

fn append(ledger: &Ledger, key: &mut u128, part: &mut [(AgentId, Head)], items: Vec<[Item; 2]>) -> Result<(), Failed> {
    *key += 1;
    let groups = part.iter().zip(items).map(|((agent, head), items)| Group {
        agent: Some(agent.clone()),
        expected: Some(*head),
        items: items.into(),
    });
    let request =
        AppendRequest { version: 1, idempotency_key: IdempotencyKey(key.to_be_bytes()), groups: groups.collect() };
    let answer = ledger.append_blocking(request).map_err(|error| format!("{error:?}"))?;
    for ((_, head), result) in part.iter_mut().zip(answer.results) {
        let GroupResult::Appended(receipts) = result else { return Err(format!("not appended: {result:?}").into()) };
        let last = receipts.last().ok_or("a group has entries")?;
        *head = Head { seq: last.seq + 1, prev: last.leaf_hash };
    }
    Ok(())
}

/// A quote and its verdict, which the sequencer links to it.
fn round(beacon: Beacon) -> [Item; 2] {
    let quote = QuoteBody {
        beacon,
        salt: Digest([2; 32]),
        attest: ByteBuf::from(vec![3; 145]),
        signature: ByteBuf::from(vec![4; 72]),
        pcrs: vec![],
        ima: ImaDelta::default(),
        boot_log: None,
    };
    let verdict = Verdict {
        quote: Digest::ZERO,
        result: VerdictResult::Pass,
        findings: vec![],
        policies: vec![],
        binding: Digest::ZERO,
        appraiser: "bench".to_owned(),
        ima_state: ImaState::default(),
    };
    // One byte of array head; then the link's head and hash, which the sequencer fills in.
    let verdict = verdict.encode();
    let (before, rest) = verdict.split_at(1);
    let (_, after) = rest.split_at(2 + 32);
    let verdict = Item { kind: Kind::Verdict.number(), body: ByteBuf::from(before), after: Some(ByteBuf::from(after)) };
    [item(&quote), verdict]
}

fn enrol(slot: u64) -> Item {
    item(&Enrol { slot, binding: Digest::ZERO, ek_certificate: 0, registrar: "bench".to_owned() })
}

fn policy() -> AgentPolicy {
    AgentPolicy {
        interval_ms: 60_000,
        tolerance_ms: 60_000,
        hash_algs: vec![],
        enc_algs: vec![],
        sign_algs: vec![],
        labels: vec![],
        policies: vec![],
        binding: Digest::ZERO,
    }
}

fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
