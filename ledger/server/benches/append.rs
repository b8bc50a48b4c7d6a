//! Durable appends per second through the library, beside the disk's own speed in the same run.
//!
//! Requests of groups of 256 entries of 400 bytes, each group of another agent, from several
//! callers at once; and plain `write` + `fdatasync` of as many bytes in pieces of the size that a
//! batch has on the disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use fixtures_bench::Report;
use ledger_protocol::body::{Body, Enrol, ImaDelta, QuoteBody};
use ledger_protocol::{Beacon, Kind};
use ledger_server::{Ledger, LogConfig};
use messages::ledger::{APPEND_ENTRIES_MAX, AppendRequest, Group, GroupResult, Head, IdempotencyKey, Item};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;

/// Entries of one group.
const GROUP_ENTRIES: usize = 256;
/// Callers at once, each waiting for its answer before it sends again.
const CALLERS: usize = 8;
/// Requests of each caller in one sample.
const REQUESTS: usize = 12;
/// Samples; the median counts.
const SAMPLES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = std::env::args().any(|argument| argument == "--test");
    let (samples, requests) = if trial { (1, 1) } else { (SAMPLES, REQUESTS) };
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let log = folder.path().join("log");
    let ledger = Ledger::open(&LogConfig::new(&log))?;
    let mut callers = (0..CALLERS).map(|number| Caller::enrol(&ledger, &log, number)).collect::<Result<Vec<_>, _>>()?;

    let (mut appends, mut plain, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..samples {
        let (entries, before) = (callers.len() * requests * APPEND_ENTRIES_MAX, segment_bytes(&log)?);
        // What a service decodes from the wire: made before the clock starts.
        callers.iter_mut().for_each(|caller| caller.prepare(requests));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for caller in &mut callers {
                scope.spawn(|| caller.append(&ledger));
            }
        });
        let ours = started.elapsed().as_secs_f64();
        let bytes = segment_bytes(&log)? - before;
        let bare = write_plainly(folder.path(), bytes, callers.len() * requests)?;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let entries = entries as f64;
        appends.push(entries / ours);
        plain.push(entries / bare);
        ratio.push(bare / ours);
    }
    drop(ledger);
    let mut report = Report::new("ledger_append");
    report.add("ledger_append_entries_per_s", "1/s", appends.clone());
    report.add("ledger_append_lib_entries_per_s", "1/s", appends);
    report.add("ledger_append_plain_write_entries_per_s", "1/s", plain);
    report.add("ledger_append_lib_ratio_of_raw_write", "1", ratio);
    report.write()?;
    Ok(())
}

/// Appends for agents of its own.
struct Caller {
    agents: Vec<(AgentId, Head)>,
    item: Item,
    key: u128,
    /// The next requests, but for where the chains end.
    ready: Vec<AppendRequest>,
}

impl Caller {
    fn enrol(ledger: &Ledger, log: &Path, number: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let note = std::fs::read(log.join("checkpoint"))?;
        let tree_size = ledger.info()?.checkpoint_size;
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
        let item = Item { kind: Kind::Quote.number(), body: ByteBuf::from(quote.encode()), after: None };
        let mut caller = Self { agents: Vec::new(), item, key: (number as u128) << 64, ready: Vec::new() };
        for agent in 0..APPEND_ENTRIES_MAX / GROUP_ENTRIES {
            let agent: AgentId = format!("bench-{number}-{agent}").parse()?;
            let body = Enrol {
                slot: ledger.info()?.next_slot,
                binding: Digest::ZERO,
                ek_certificate: 0,
                registrar: "bench".to_owned(),
            };
            let item = Item { kind: Kind::Enrol.number(), body: ByteBuf::from(body.encode()), after: None };
            caller.agents.push((agent, Head::default()));
            let request = caller.request(caller.agents.len() - 1..caller.agents.len(), &[item]);
            caller.send(ledger, request);
        }
        Ok(caller)
    }

    fn prepare(&mut self, requests: usize) {
        let items = vec![self.item.clone(); GROUP_ENTRIES];
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

fn segment_bytes(log: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(log.join("segments"))?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// Seconds to write `bytes` in `pieces`, each durable before the next.
fn write_plainly(folder: &Path, bytes: u64, pieces: usize) -> std::io::Result<f64> {
    let piece = usize::try_from(bytes).map_err(std::io::Error::other)? / pieces;
    let content = vec![0x5a; piece];
    let path = folder.join("plain");
    let mut file = File::create(&path)?;
    let started = Instant::now();
    for _ in 0..pieces {
        file.write_all(&content)?;
        file.sync_data()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(seconds)
}
