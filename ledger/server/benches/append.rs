//! Durable appends per second through the library, beside the disk's own speed in the same run.
//!
//! Requests of groups of 256 entries of 400 bytes, each group of another agent, from several
//! callers at once; and plain `write` + `fdatasync` of exactly the batches that the log has written:
//! as many, each of its size, into a file that grows as the log's does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
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

    let (mut appends, mut plain, mut ratio, mut syncs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut seen = Seen::default();
    for _ in 0..samples {
        let entries = callers.len() * requests * APPEND_ENTRIES_MAX;
        seen.new_batches(&log)?;
        // What a service decodes from the wire: made before the clock starts.
        callers.iter_mut().for_each(|caller| caller.prepare(requests));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for caller in &mut callers {
                scope.spawn(|| caller.append(&ledger));
            }
        });
        let ours = started.elapsed().as_secs_f64();
        let batches = seen.new_batches(&log)?;
        syncs.push(batches.len() as f64);
        let bare = write_plainly(folder.path(), &batches)?;
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
    report.add("ledger_append_lib_syncs", "1", syncs);
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

/// How much of each segment was looked at.
#[derive(Default)]
struct Seen(BTreeMap<PathBuf, usize>);

impl Seen {
    /// The sizes of the batches that came since the last look. Source: `docs/spec/segment.md`.
    fn new_batches(&mut self, log: &Path) -> std::io::Result<Vec<usize>> {
        let mut sizes = Vec::new();
        for entry in std::fs::read_dir(log.join("segments"))? {
            let path = entry?.path();
            let file = File::open(&path)?;
            let from = self.0.entry(path).or_insert(HEADER_BYTES);
            let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)? - *from];
            file.read_exact_at(&mut bytes, *from as u64)?;
            let mut rest = bytes.as_slice();
            while let Some(size) = batch_bytes(rest) {
                rest = rest.get(size..).unwrap_or_default();
                sizes.push(size);
                *from += size;
            }
        }
        Ok(sizes)
    }
}

/// The size of the batch that `bytes` begin with; `None` for zeros written ahead, or nothing.
fn batch_bytes(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
        if length > 0 {
            at += 2 + usize::from(length);
            continue;
        }
        let trailer = bytes.get(at + 2..)?.strip_prefix(b"BTCH")?;
        let answers = u32::from_be_bytes(*trailer.get(16..)?.first_chunk()?);
        return Some(at + 2 + 4 + 20 + usize::try_from(answers).ok()? + 4);
    }
}

/// Seconds to write as many bytes as each of these batches has, each durable before the next.
fn write_plainly(folder: &Path, batches: &[usize]) -> std::io::Result<f64> {
    let content = vec![0x5a; batches.iter().copied().max().unwrap_or_default()];
    let path = folder.join("plain");
    let mut file = File::create(&path)?;
    let started = Instant::now();
    for bytes in batches {
        file.write_all(content.get(..*bytes).unwrap_or_default())?;
        file.sync_data()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(seconds)
}

/// A segment's header.
const HEADER_BYTES: usize = 64;
