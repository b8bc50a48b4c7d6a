//! The ledger as a service over loopback mutual TLS, its client on the same machine: batches, the
//! time to an acknowledgement at half load, alone and among bad clients, and single entries from many
//! connections.

#[path = "../tests/it/hostile.rs"]
mod hostile;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fixtures_bench::Report;
use http::{Method, StatusCode};
use ledger_protocol::Kind;
use ledger_protocol::body::{Body, OperatorAction};
use ledger_server::{Config, LogConfig, start};
use messages::cbor;
use messages::ledger::{AppendAnswer, AppendRequest, Group, GroupResult, IdempotencyKey, Item};
use serde_bytes::ByteBuf;
use transport::ca::{Authority, KeyAlgorithm, Leaf};
use transport::client::{Client, Outgoing};
use transport::router::Role;
use transport::server::{Limits, Shutdown};
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls};

use self::hostile::{Hostile, Misdeed};

/// Entries of one request, from the smallest batch to the largest.
const BATCHES: [usize; 3] = [256, 1_024, 4_096];
/// Connections that send batches.
const SENDERS: usize = 8;
/// Half of the 150,000 entries a second that the service must take: a load that is the same in
/// every run.
const HALF_LOAD_PER_S: f64 = 75_000.0;
/// Connections of bad clients: each kind of misdeed this many times.
const BAD_OF_A_KIND: usize = 6;
/// How long a bad client stays away after it was cut off.
const BAD_PAUSE: Duration = Duration::from_millis(500);
/// Entries a second of the well-behaved among bad clients, and of each of their requests: a load that
/// leaves the processor to both, so that what is measured is who waits for whom.
const LIGHT_LOAD_PER_S: f64 = 10_000.0;
const LIGHT_ENTRIES: usize = 64;
/// Connections that send single entries.
const SINGLES: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let (samples, time) = if has("--test") { (1, 50) } else { (5, 2_000) };
    let runtime = tokio::runtime::Runtime::new()?;
    let parts = ["--batches", "--bad-clients", "--single"];
    let all = !parts.into_iter().any(has);
    runtime.block_on(measure(samples, Duration::from_millis(time), parts.map(|part| all || has(part))))
}

/// Measures batches, acknowledgements among bad clients, and single entries: those of them that are
/// wanted.
async fn measure(samples: usize, time: Duration, wanted: [bool; 3]) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let tls = folder.path().join("tls");
    let authority = Authority::open_or_create(&tls, "bench", KeyAlgorithm::EcP256)?;
    authority.open_or_issue(&tls, "server", &Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256)?;
    let identity = Identity::load(&tls.join("server-cert.crt"), &tls.join("server-private.pem"))?;
    let authorities = vec![authority.certificate().to_owned()];
    let (stop, shutdown) = Shutdown::new();
    let config = Config {
        address: ([127, 0, 0, 1], 0).into(),
        limits: Limits::default(),
        log: LogConfig::new(folder.path().join("log")),
        public_read: false,
        tls: ServerTls::new(&identity, &ClientAuth::Optional(authorities.clone()))?,
    };
    let running = start(config, shutdown).await?;
    let url = format!("https://{}/ledger/v1/append", running.address());
    let client = || -> Result<Sender, Box<dyn std::error::Error>> {
        let identity = authority.issue(&Leaf::client("bench", Role::Service), KeyAlgorithm::EcP256)?;
        let (authorities, identity) = (authorities.clone(), Some(identity));
        let tls = ClientTls::new(&ClientTlsConfig { authorities, host_names: HostNames::Checked, identity })?;
        Ok(Sender { client: Client::new(tls), url: url.clone() })
    };
    let senders = (0..SENDERS).map(|_| client()).collect::<Result<Vec<_>, _>>()?;
    let singles = (0..SINGLES).map(|_| client()).collect::<Result<Vec<_>, _>>()?;

    let mut report = Report::new("ledger_service");
    let [wants_batches, wants_bad_clients, wants_single] = wanted;
    if wants_batches {
        batches(&senders, samples, time, &mut report).await?;
    }
    if wants_bad_clients {
        let identity = authority.issue(&Leaf::client("hostile", Role::Service), KeyAlgorithm::EcP256)?;
        let hostile = Arc::new(Hostile::new(running.address(), &identity, authority.certificate()));
        for arrival in [Arrival::Staggered, Arrival::AtOnce] {
            among_bad_clients(&senders, samples, time, (&hostile, arrival), &mut report).await?;
        }
    }
    if wants_single {
        let mut single = Vec::new();
        for _ in 0..samples {
            let (count, _) = run(&singles, 1, time, None).await?;
            single.push(count / time.as_secs_f64());
        }
        report.add("ledger_single_append_per_s", "1/s", single);
    }
    report.add("ledger_service_peak_mib", "MiB", vec![peak_mib()?]);
    report.write()?;
    stop.start();
    running.wait().await?;
    Ok(())
}

/// Batches of several sizes as fast as they go, and the time to an acknowledgement at half load.
async fn batches(
    senders: &[Sender],
    samples: usize,
    time: Duration,
    report: &mut Report,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut best = 0.0f64;
    let mut rates = Vec::new();
    for entries in BATCHES {
        let mut found = Vec::new();
        for _ in 0..samples {
            let (count, _) = run(senders, entries, time, None).await?;
            found.push(count / time.as_secs_f64());
        }
        report.add(&format!("ledger_service_entries_per_s_batch_{entries}"), "1/s", found.clone());
        if fixtures_bench::median(&found) > best {
            (best, rates) = (fixtures_bench::median(&found), found);
        }
    }
    report.add("ledger_service_entries_per_s", "1/s", rates);
    let (mut p50, mut p99, mut p999) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..samples {
        let (_, times) = run(senders, 256, time, Some(half_load())).await?;
        p50.push(quantile(&times, 0.5));
        p99.push(quantile(&times, 0.99));
        p999.push(quantile(&times, 0.999));
    }
    report.add("ledger_service_ack_p50_ms", "ms", p50);
    report.add("ledger_service_ack_p99_ms", "ms", p99);
    report.add("ledger_service_ack_p999_ms", "ms", p999);
    Ok(())
}

/// How bad clients come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Arrival {
    /// All in one moment, as after a network's failure: each measured time begins with it.
    AtOnce,
    /// One after the other, spread over the time that they stay away: they are strangers to each other.
    Staggered,
}

/// The time to an acknowledgement at a light load, by turns alone and among clients that misbehave in
/// every way at once, each coming back when it was cut off.
async fn among_bad_clients(
    senders: &[Sender],
    samples: usize,
    time: Duration,
    (hostile, arrival): (&Arc<Hostile>, Arrival),
    report: &mut Report,
) -> Result<(), Box<dyn std::error::Error>> {
    let light = Duration::from_secs_f64(LIGHT_ENTRIES as f64 * SENDERS as f64 / LIGHT_LOAD_PER_S);
    let (mut alone, mut among, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..samples {
        let (_, times) = run(senders, LIGHT_ENTRIES, 2 * time, Some(light)).await?;
        let peer = quantile(&times, 0.99);
        let enough = Arc::new(AtomicBool::new(false));
        let bad = Misdeed::ALL.iter().flat_map(|misdeed| [*misdeed; BAD_OF_A_KIND]).enumerate();
        let bad = bad.map(|(number, misdeed)| {
            let (hostile, enough) = (Arc::clone(hostile), Arc::clone(&enough));
            std::thread::spawn(move || {
                let share = number as f64 / (Misdeed::ALL.len() * BAD_OF_A_KIND) as f64;
                if arrival == Arrival::Staggered {
                    std::thread::park_timeout(BAD_PAUSE.mul_f64(share));
                }
                while !enough.load(Ordering::Relaxed) {
                    // What it got does not matter to it.
                    let _ = hostile.run(misdeed, || enough.load(Ordering::Relaxed));
                    std::thread::park_timeout(BAD_PAUSE);
                }
            })
        });
        let bad: Vec<_> = bad.collect();
        if arrival == Arrival::Staggered {
            tokio::time::sleep(2 * BAD_PAUSE).await;
        }
        let (_, times) = run(senders, LIGHT_ENTRIES, 2 * time, Some(light)).await?;
        enough.store(true, Ordering::Relaxed);
        for thread in bad {
            thread.thread().unpark();
            thread.join().map_err(|_| "a bad client panicked")?;
        }
        let found = quantile(&times, 0.99);
        alone.push(peer);
        among.push(found);
        ratio.push(found / peer);
    }
    let way = if arrival == Arrival::AtOnce { "_arriving" } else { "" };
    report.add(&format!("ledger_ack_p99_alone{way}_ms"), "ms", alone);
    report.add(&format!("ledger_ack_p99_under_bad_clients{way}_ms"), "ms", among);
    report.add(&format!("ledger_ack_p99_under_bad_clients{way}_ratio"), "1", ratio);
    Ok(())
}

/// How often each sender sends 256 entries at half load.
fn half_load() -> Duration {
    Duration::from_secs_f64(256.0 * SENDERS as f64 / HALF_LOAD_PER_S)
}

/// The time that this share of all is at or below.
fn quantile(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let place = times.len() as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    let place = place as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// One connection.
#[derive(Clone)]
struct Sender {
    client: Client,
    url: String,
}

/// Entries acknowledged within `time`, and milliseconds to each acknowledgement; with `pause`, a
/// request of each sender begins every so often.
async fn run(
    senders: &[Sender],
    entries: usize,
    time: Duration,
    pause: Option<Duration>,
) -> Result<(f64, Vec<f64>), Box<dyn std::error::Error>> {
    let end = Instant::now() + time;
    let prefix = body(entries)?;
    let tasks = senders.iter().cloned().enumerate().map(|(number, sender)| {
        let prefix = Arc::clone(&prefix);
        tokio::spawn(async move {
            let mut times = Vec::new();
            let mut next = Instant::now();
            if let Some(pause) = pause {
                next += pause.mul_f64(number as f64 / SENDERS as f64);
            }
            loop {
                if pause.is_some() {
                    tokio::time::sleep_until(next.into()).await;
                }
                let started = if pause.is_some() { next } else { Instant::now() };
                if started >= end {
                    return times;
                }
                sender.send(&prefix, entries).await;
                times.push(started.elapsed().as_secs_f64() * 1e3);
                next += pause.unwrap_or_default();
            }
        })
    });
    let mut times = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await?);
    }
    Ok((times.len() as f64 * entries as f64, times))
}

/// A request's bytes with a key of zeros.
fn body(entries: usize) -> Result<Arc<Vec<u8>>, Box<dyn std::error::Error>> {
    let body = OperatorAction { action: "bench".into(), actor: "b".repeat(256), target: None, detail: "d".repeat(62) };
    let item = Item { kind: Kind::OperatorAction.number(), body: ByteBuf::from(body.encode()), after: None };
    let groups = vec![Group { agent: None, expected: None, items: vec![item; entries] }];
    let request = AppendRequest { version: 1, idempotency_key: IdempotencyKey([0; 16]), groups };
    Ok(Arc::new(cbor::encode(&request)))
}

impl Sender {
    /// Sends the request under a new key and waits until it is durable.
    async fn send(&self, prefix: &[u8], entries: usize) {
        let mut bytes = prefix.to_vec();
        // Array head, version, head of the key.
        let place = bytes.get_mut(3..19).expect("the key's place");
        openssl::rand::rand_bytes(place).expect("random bytes");
        let outgoing = Outgoing {
            answer_bytes_max: 16 << 20,
            ..Outgoing::new(Method::POST, self.url.clone()).with_body("application/cbor", Bytes::from(bytes))
        };
        let answer = self.client.request(outgoing).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        let answer: AppendAnswer = cbor::decode(&answer.body).expect("an answer to an append");
        let [GroupResult::Appended(receipts)] = answer.results.as_slice() else {
            panic!("not appended: {answer:?}");
        };
        assert_eq!(receipts.len(), entries);
    }
}

fn peak_mib() -> Result<f64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
