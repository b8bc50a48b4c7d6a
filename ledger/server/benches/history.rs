//! What histories cost a busy ledger: durable appends per second with and without them, in the same run.
//!
//! Each group is 128 rounds of attestation of one agent, a quote and its verdict; several callers at once. With
//! histories a census goes on record every second, sixty times as often as by default.
//!
//! A sample ends when a published checkpoint covers its last entry and, with histories, when they have taken that checkpoint's
//! entry: then every leaf and node of the sample is hashed and nothing is left to be paid later. Logs with and without
//! take turns; both wait for the checkpoint in the same way.

use std::path::Path;
use std::time::{Duration, Instant};

use fixtures_bench::{Report, process::cpu_seconds};
use ledger_protocol::body::{
    AgentPolicy, Body, Enrol, ImaDelta, ImaState, PolicyBody, QuoteBody, Verdict, VerdictResult,
};
use ledger_protocol::{Beacon, Kind};
use ledger_server::{HistoriesConfig, Ledger, LogConfig};
use messages::ledger::{APPEND_ENTRIES_MAX, AppendRequest, Group, GroupResult, Head, IdempotencyKey, Item};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;

/// Entries of one group.
const GROUP_ENTRIES: usize = 256;
/// Callers at once, each waiting for its answer before it sends again.
const CALLERS: usize = 8;
/// Requests of each caller in one sample: 200,000 entries, some half a second.
const REQUESTS: usize = 24;
/// A fifth of the default, so that waiting for it at the end of a sample is little of the sample.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(200);
/// Samples; the median counts.
const SAMPLES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = std::env::args().any(|argument| argument == "--test");
    let (samples, requests) = if trial { (1, 1) } else { (SAMPLES, REQUESTS) };
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let second = Duration::from_secs(1);
    let histories = HistoriesConfig { epoch: second, idle_checkpoint_interval: second };
    let mut without = Log::open(&folder.path().join("without"), None)?;
    let mut with = Log::open(&folder.path().join("with"), Some(histories))?;
    let (mut overhead, mut cpu, mut off, mut on, mut appended) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut cpu_off, mut cpu_on) = (vec![], vec![]);
    for sample in 0..samples {
        // Whoever goes first finds another disk.
        let (plain, kept) = if sample % 2 == 0 {
            let plain = without.sample(requests);
            (plain, with.sample(requests))
        } else {
            let kept = with.sample(requests);
            (without.sample(requests), kept)
        };
        off.push(plain.covered);
        on.push(kept.covered);
        appended.push((1.0 - kept.appended / plain.appended) * 100.0);
        overhead.push((1.0 - kept.covered / plain.covered) * 100.0);
        cpu.push((1.0 - plain.cpu_us / kept.cpu_us) * 100.0);
        cpu_off.push(plain.cpu_us);
        cpu_on.push(kept.cpu_us);
    }
    let mut report = Report::new("ledger_history");
    report.add("history_overhead_percent", "%", overhead);
    report.add("history_overhead_cpu_percent", "%", cpu);
    report.add("history_overhead_until_acknowledged_percent", "%", appended);
    report.add("history_off_entries_per_s", "1/s", off);
    report.add("history_on_entries_per_s", "1/s", on);
    report.add("history_off_cpu_us_per_entry", "us", cpu_off);
    report.add("history_on_cpu_us_per_entry", "us", cpu_on);
    report.write()?;
    Ok(())
}

/// A ledger and those who append to it.
struct Log {
    callers: Vec<Caller>,
    ledger: Ledger,
}

/// What a sample came to.
struct Rates {
    /// Entries per second until all were acknowledged.
    appended: f64,
    /// Entries per second until nothing was left to do.
    covered: f64,
    /// Processor time per entry of the whole process until then, in microseconds.
    cpu_us: f64,
}

impl Log {
    fn open(path: &Path, histories: Option<HistoriesConfig>) -> Result<Self, Box<dyn std::error::Error>> {
        let mut config = LogConfig::new(path);
        config.histories = histories;
        config.checkpoint_interval = CHECKPOINT_INTERVAL;
        let ledger = Ledger::open(&config)?;
        let callers = (0..CALLERS).map(|number| Caller::enrol(&ledger, path, number)).collect::<Result<_, _>>()?;
        Ok(Self { callers, ledger })
    }

    fn sample(&mut self, requests: usize) -> Rates {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let entries = (self.callers.len() * requests * APPEND_ENTRIES_MAX) as f64;
        // What a service decodes from the wire: made before the clock starts.
        self.callers.iter_mut().for_each(|caller| caller.prepare(requests));
        let ledger = &self.ledger;
        let (started, cpu) = (Instant::now(), cpu_seconds());
        std::thread::scope(|scope| {
            for caller in &mut self.callers {
                scope.spawn(|| caller.append(ledger));
            }
        });
        let appended = entries / started.elapsed().as_secs_f64();
        settle(ledger);
        let covered = entries / started.elapsed().as_secs_f64();
        Rates { appended, covered, cpu_us: (cpu_seconds() - cpu) * 1e6 / entries }
    }
}

/// Waits until a checkpoint covers all that is durable now, and the histories have taken its entry.
fn settle(ledger: &Ledger) {
    let info = || ledger.info().expect("a readable index");
    let last = info().durable_size;
    wait_until(|| info().checkpoint_size >= last);
    if ledger.histories_size().is_some() {
        // Its entry is the first that is appended now that the callers are silent.
        let covering = info().checkpoint_size;
        wait_until(|| ledger.histories_size().is_some_and(|size| size > covering));
    }
}

fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Appends for agents of its own.
struct Caller {
    agents: Vec<(AgentId, Head)>,
    items: [Item; 2],
    key: u128,
    /// The next requests, but for where the chains end.
    ready: Vec<AppendRequest>,
}

impl Caller {
    fn enrol(ledger: &Ledger, log: &Path, number: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let note = std::fs::read(log.join("checkpoint"))?;
        // Its own size: another may be published by now.
        let tree_size = std::str::from_utf8(&note)?.lines().nth(1).ok_or("a note without a size")?.parse()?;
        let beacon = Beacon { tree_size, note_digest: Digest(openssl::sha::sha256(&note)) };
        let quote = QuoteBody {
            beacon,
            salt: Digest([2; 32]),
            attest: ByteBuf::from(vec![3; 200]),
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
        let verdict =
            Item { kind: Kind::Verdict.number(), body: ByteBuf::from(before), after: Some(ByteBuf::from(after)) };
        let items = [item(&quote), verdict];
        let policy = PolicyBody::Agent(AgentPolicy {
            interval_ms: 1_000,
            tolerance_ms: 1_000,
            hash_algs: vec![],
            enc_algs: vec![],
            sign_algs: vec![],
            labels: vec![],
            policies: vec![],
            binding: Digest::ZERO,
        });
        let mut caller = Self { agents: Vec::new(), items, key: (number as u128) << 64, ready: Vec::new() };
        for agent in 0..APPEND_ENTRIES_MAX / GROUP_ENTRIES {
            let agent: AgentId = format!("bench-{number}-{agent}").parse()?;
            let body = Enrol {
                slot: ledger.info()?.next_slot,
                binding: Digest::ZERO,
                ek_certificate: 0,
                registrar: "bench".to_owned(),
            };
            caller.agents.push((agent, Head::default()));
            let request = caller.request(caller.agents.len() - 1..caller.agents.len(), &[item(&body), item(&policy)]);
            caller.send(ledger, request);
        }
        Ok(caller)
    }

    fn prepare(&mut self, requests: usize) {
        let items: Vec<Item> = self.items.iter().cloned().cycle().take(GROUP_ENTRIES).collect();
        self.ready = (0..requests).map(|_| self.request(0..self.agents.len(), &items)).collect();
    }

    fn append(&mut self, ledger: &Ledger) {
        for request in std::mem::take(&mut self.ready) {
            self.send(ledger, request);
        }
    }

    fn request(&mut self, which: std::ops::Range<usize>, items: &[Item]) -> AppendRequest {
        let agents = self.agents.get(which).expect("agents of this caller");
        let groups = agents.iter().map(|(agent, head)| Group {
            agent: Some(agent.clone()),
            expected: Some(*head),
            items: items.to_vec(),
        });
        self.key += 1;
        let idempotency_key = IdempotencyKey(self.key.to_be_bytes());
        AppendRequest { version: 1, idempotency_key, groups: groups.collect() }
    }

    /// Sends a request for this caller's last agents, from where their chains end now.
    fn send(&mut self, ledger: &Ledger, mut request: AppendRequest) {
        let first = self.agents.len() - request.groups.len();
        let agents = self.agents.get_mut(first..).expect("agents of this caller");
        for (group, (_, head)) in request.groups.iter_mut().zip(agents.iter()) {
            group.expected = Some(*head);
        }
        let answer = ledger.append_blocking(request).expect("a ledger that accepts");
        for ((_, head), result) in agents.iter_mut().zip(answer.results) {
            let GroupResult::Appended(receipts) = result else {
                panic!("a group was not appended: {result:?}");
            };
            let last = receipts.last().expect("a group has entries");
            *head = Head { seq: last.seq + 1, prev: last.leaf_hash };
        }
    }
}

fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}
