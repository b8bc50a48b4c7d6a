//! What histories, the census and interval proofs cost.
//!
//! One log of 10 million entries of 1,000 machines; one machine's proofs in it. Proofs of a day, a month and a year. A
//! census of 100,000 machines of which 10,000 change, and a proof of that fleet. Histories beside the sequencer on the same
//! entries, and beside the bare hashes that they are made of.
//!
//! Everything is one thread's work in memory, and times are that thread's processor time: what an idle machine's clock would
//! show, whatever else this one does.
//!
//! `cargo bench -p ledger-history --bench histories -- PART` makes one part alone, and a file of its own: `overhead`,
//! `census`, `fleet`, `proofs`, `sizes`; `long` makes the months and years of quotes every 2 s, the year of which has
//! 31.5 million entries. Without a part, all but `long`, and a log of 2 million entries instead of 10; `proofs` has 10.
#![expect(clippy::cast_precision_loss, reason = "rates and times")]

use std::hint::black_box;

use fixtures_bench::{Report, process::thread_cpu_seconds};
use fixtures_histories::{BEGIN, ORIGIN, SyntheticLog};
use ledger_history::fleet::{self, EXCEPTIONS_MAX, FleetRequest, Selection};
use ledger_history::history::{History, NewLeaf, NewNode, Sink};
use ledger_history::interval::{Request, Trust, Witnesses, prove, verify};
use ledger_protocol::body::VerdictResult;
use ledger_protocol::{Entry, LogState};
use messages::{AgentId, Digest};

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = std::env::args().any(|argument| argument == "--test");
    let part = PARTS.into_iter().find(|part| std::env::args().any(|argument| argument == *part));
    let wants = |name| part.is_none_or(|part| part == name) && (part.is_some() || name != "long");
    let mut report = Report::new(&part.map_or("histories".to_owned(), |part| format!("histories_{part}")));
    if wants("overhead") {
        overhead(&mut report, if trial { 3 } else { 400 })?;
    }
    if wants("census") {
        census(&mut report, if trial { 300 } else { 100_000 })?;
    }
    if wants("fleet") {
        fleet(&mut report, if trial { 300 } else { 100_000 })?;
    }
    if wants("proofs") {
        let rounds = if part.is_some() { 5_000 } else { 1_000 };
        proofs(&mut report, if trial { (10, 20) } else { (1_000, rounds) })?;
    }
    let spans = [
        ("day_2s", 2, 43_200, "sizes"),
        ("day_60s", 60, 1_440, "sizes"),
        ("month_60s", 60, 43_200, "sizes"),
        ("year_60s", 60, 525_600, "sizes"),
        ("month_2s", 2, 1_296_000, "long"),
        ("year_2s", 2, 15_768_000, "long"),
    ];
    for (name, interval, quotes, _) in spans.into_iter().filter(|(.., part)| wants(part)) {
        spans_of(&mut report, name, interval, if trial { 100 } else { quotes })?;
    }
    report.write()?;
    Ok(())
}

const PARTS: [&str; 6] = ["overhead", "census", "fleet", "proofs", "sizes", "long"];

/// A machine's proof over the middle half of a log of `machines` with so many quotes each.
fn proofs(report: &mut Report, (machines, quotes): (usize, u64)) -> Result<(), Failed> {
    let mut log = SyntheticLog::new(3, 2);
    let agents: Vec<AgentId> = (0..machines).map(|number| log.enrol(&format!("hypervisor-{number}"))).collect();
    let agent = agents.first().ok_or("no machine")?;
    for agent in &agents {
        log.policy(agent, 2_000, 10_000);
    }
    log.keep_only(agent);
    for round in 0..quotes {
        log.advance_ms(2_000);
        for agent in &agents {
            log.quote(agent, VerdictResult::Pass);
        }
        log.checkpoint();
        if round % 30 == 29 {
            log.census();
        }
    }
    log.close();
    let (from, to) = (BEGIN + quotes / 2, BEGIN + quotes * 3 / 2);
    let request = request(&log, agent, from, to);
    let witnesses = Witnesses::parse(&log.keys().policy_file())?;
    let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: Some(&witnesses), authorities: None };
    let (mut make, mut check, mut size) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..20 {
        let started = thread_cpu_seconds();
        let proof = prove(&log, &request)?.encode();
        make.push(millis(started));
        let started = thread_cpu_seconds();
        black_box(verify(&proof, agent, &trust)?);
        check.push(millis(started));
        size = proof.len() as f64;
    }
    report.add("interval_proof_log_entries", "1", vec![log.entries().len() as f64]);
    report.add("interval_proof_bytes", "B", vec![size]);
    report.add("interval_proof_make_ms", "ms", make);
    report.add("interval_proof_verify_ms", "ms", check);
    let full = Request { full: true, ..request };
    let proof = prove(&log, &full)?.encode();
    let rates = (0..5).map(|_| {
        let started = thread_cpu_seconds();
        let entries = verify(&proof, agent, &trust)?.full_entries;
        Ok(entries as f64 / millis(started) * 1e3)
    });
    report.add("interval_full_entries_per_s", "1/s", rates.collect::<Result<_, Failed>>()?);
    Ok(())
}

/// A proof over all of a log of one machine but ten quotes at each end, beside headers of 160 bytes for every entry.
fn spans_of(report: &mut Report, name: &str, interval: u64, quotes: u64) -> Result<(), Failed> {
    let mut log = SyntheticLog::new(3, 2);
    // Of the middle a proof needs complete subtrees only.
    log.keep_ends(ENDS_KEPT);
    let agent = log.enrol("hypervisor-0");
    log.policy(&agent, interval * 1_000, 600_000);
    log.close();
    let begin = log.now() + 1;
    // A checkpoint and its cosignatures for every quote would be most of the work.
    let rounds = if quotes > 10_000_000 { 1_800 } else { 64 };
    for number in 0..quotes {
        log.advance_ms(interval * 1_000);
        log.quote(&agent, VerdictResult::Pass);
        if number % rounds == rounds - 1 {
            log.checkpoint();
        }
    }
    log.close();
    // Times stand still from one checkpoint to the next: gaps are not what is measured here.
    let request = request(&log, &agent, begin + 10 * interval, log.now() - 10 * interval);
    let request = Request { gap_limit: 1_000_000, ..request };
    let witnesses = Witnesses::parse(&log.keys().policy_file())?;
    let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: Some(&witnesses), authorities: None };
    let (mut make, mut check, mut size) = (Vec::new(), Vec::new(), 0);
    for _ in 0..20 {
        let started = thread_cpu_seconds();
        let proof = prove(&log, &request)?.encode();
        make.push(millis(started));
        let started = thread_cpu_seconds();
        black_box(verify(&proof, &agent, &trust)?);
        check.push(millis(started));
        size = proof.len();
    }
    report.add(&format!("interval_proof_{name}_bytes"), "B", vec![size as f64]);
    report.add(&format!("interval_proof_{name}_make_ms"), "ms", make);
    report.add(&format!("interval_proof_{name}_verify_ms"), "ms", check);
    report.add(&format!("headers_{name}_bytes"), "B", vec![(2 * quotes * 160) as f64]);
    Ok(())
}

/// Entries, leaves and hashes kept of each end of a long log: more than a day of quotes every 2 s.
const ENDS_KEPT: usize = 100_000;

/// Proofs of a fleet of so many machines between two censuses: one fails, or as many as a proof opens.
fn fleet(report: &mut Report, machines: u64) -> Result<(), Failed> {
    let mut log = SyntheticLog::new(3, 2);
    let agents: Vec<AgentId> = (0..machines).map(|number| log.enrol(&format!("hypervisor-{number}"))).collect();
    agents.iter().for_each(|agent| log.policy(agent, 60_000, 600_000));
    log.close();
    let witnesses = Witnesses::parse(&log.keys().policy_file())?;
    for (name, failing) in [("one_exception", 1), ("64_exceptions", EXCEPTIONS_MAX)] {
        log.advance_ms(2_000);
        let from = log.now();
        for round in 0..2 {
            log.advance_ms(60_000);
            for (number, agent) in agents.iter().enumerate() {
                let fails = round == 0 && number < failing;
                log.quote(agent, if fails { VerdictResult::Fail } else { VerdictResult::Pass });
            }
            log.checkpoint();
        }
        let to = log.now() - 1;
        log.advance_ms(2_000);
        log.close();
        let trust = Trust { origin: ORIGIN, log: log.log_key(), witnesses: Some(&witnesses), authorities: None };
        let request = FleetRequest { from, to, selection: Selection::Exceptions };
        let (mut make, mut check, mut size) = (Vec::new(), Vec::new(), 0);
        for _ in 0..SAMPLES {
            let started = thread_cpu_seconds();
            let proof = fleet::prove(&log, &request)?.encode();
            make.push(millis(started));
            let started = thread_cpu_seconds();
            black_box(fleet::verify(&proof, &trust)?);
            check.push(millis(started));
            size = proof.len();
        }
        report.add(&format!("fleet_proof_{name}_bytes"), "B", vec![size as f64]);
        report.add(&format!("fleet_proof_{name}_make_ms"), "ms", make);
        report.add(&format!("fleet_proof_{name}_verify_ms"), "ms", check);
    }
    Ok(())
}

/// Samples of each quantity that takes long.
const SAMPLES: usize = 5;

/// A census after a tenth of so many machines changed.
fn census(report: &mut Report, machines: u64) -> Result<(), Failed> {
    let mut log = SyntheticLog::new(0, 0);
    let agents: Vec<AgentId> = (0..machines).map(|number| log.enrol(&format!("hypervisor-{number}"))).collect();
    log.checkpoint();
    for agent in &agents {
        log.policy(agent, 60_000, 60_000);
        log.quote(agent, VerdictResult::Pass);
    }
    log.checkpoint();
    log.history().census();
    let mut times = Vec::new();
    for turn in 0..5 {
        log.advance_ms(2_000);
        for agent in agents.iter().skip(turn).step_by(10) {
            log.quote(agent, VerdictResult::Pass);
        }
        log.checkpoint();
        let started = thread_cpu_seconds();
        black_box(log.history().census().head());
        times.push(millis(started));
    }
    report.add("census_10k_ms", "ms", times);
    let bytes = log.history().agents_bytes() as f64 / machines as f64;
    report.add("history_agent_bytes", "B", vec![bytes]);
    Ok(())
}

/// Histories without a store.
struct Unkept;

impl Sink for Unkept {
    fn leaf(&mut self, new: NewLeaf) {
        black_box(&new);
    }

    fn node(&mut self, new: NewNode) {
        black_box(&new);
    }
}

/// Sequencing of quotes and verdicts of 100 machines, and histories of the same entries.
fn overhead(report: &mut Report, rounds: usize) -> Result<(), Failed> {
    let mut source = SyntheticLog::new(0, 0);
    let agents: Vec<AgentId> = (0..100).map(|number| source.enrol(&format!("hypervisor-{number}"))).collect();
    for agent in &agents {
        source.policy(agent, 2_000, 10_000);
    }
    source.checkpoint();
    for _ in 0..rounds {
        source.advance_ms(2_000);
        for agent in &agents {
            source.quote(agent, VerdictResult::Pass);
        }
        source.checkpoint();
    }
    let entries: Vec<Entry> = source.entries().iter().map(|bytes| Entry::decode(bytes)).collect::<Result<_, _>>()?;
    let hashes: Vec<Digest> = source.entries().iter().map(|bytes| Entry::leaf_hash(bytes)).collect();
    let (mut sequencing, mut histories, mut percent, mut bare) = (vec![], vec![], vec![], vec![]);
    for _ in 0..SAMPLES {
        // What the sequencer does for each entry: encode, hash, judge.
        let mut state = LogState::default();
        let started = thread_cpu_seconds();
        for entry in &entries {
            let bytes = entry.encode()?;
            state.apply(entry, Entry::leaf_hash(&bytes), |size| source.published(size))?;
            black_box(bytes);
        }
        let sequenced = millis(started) * 1e6 / entries.len() as f64;
        let mut history = History::new();
        let started = thread_cpu_seconds();
        for ((index, entry), hash) in (0..).zip(&entries).zip(&hashes) {
            black_box(history.push_to(index, entry, *hash, |_| None, &mut Unkept)?);
        }
        let pushed = millis(started) * 1e6 / entries.len() as f64;
        // A leaf and a node for each quote, so for two entries.
        let started = thread_cpu_seconds();
        for _ in 0..entries.len() / 2 {
            for bytes in [&[0x10u8; LEAF_HASHED_BYTES][..], &[0x11; NODE_HASHED_BYTES]] {
                let mut hash = openssl::sha::Sha256::new();
                hash.update(black_box(bytes));
                black_box(hash.finish());
            }
        }
        bare.push(millis(started) * 1e6 / entries.len() as f64);
        sequencing.push(sequenced);
        histories.push(pushed);
        percent.push(100.0 * pushed / sequenced);
    }
    report.add("sequence_ns_per_entry", "ns", sequencing);
    report.add("history_ns_per_entry", "ns", histories);
    report.add("history_of_sequencing_percent", "%", percent);
    report.add("history_bare_hashes_ns_per_entry", "ns", bare);
    Ok(())
}

/// Bytes that are hashed for a leaf and for a node. Source: `docs/spec/history.md` section 3.
const LEAF_HASHED_BYTES: usize = 1 + 32 + 8 + 56 + 3 * 32 + 4;
const NODE_HASHED_BYTES: usize = 1 + 56 + 2 * 32;

fn request(log: &SyntheticLog, agent: &AgentId, from: u64, to: u64) -> Request {
    let (agent, slot) = (agent.clone(), log.slot(agent));
    Request { agent, slot, from, to, gap_limit: 600, boots: false, full: false, stamps: vec![] }
}

/// Milliseconds of processor time since then.
fn millis(started: f64) -> f64 {
    (thread_cpu_seconds() - started) * 1e3
}
