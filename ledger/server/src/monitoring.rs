//! What those see who watch over a ledger: its metrics, whether it lives, and whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use messages::UnixMillis;
use serde::Serialize;

use crate::engine::Shared;
use crate::metrics::{Sample, Text, float};

/// How a ledger is watched, and when it calls itself ready.
#[derive(Clone, Debug)]
pub struct Monitoring {
    /// Bytes that the disk must have left.
    pub disk_free_bytes_min: u64,
    /// Where `/metrics`, `/healthz` and `/readyz` answer without TLS; a loopback address. Nowhere but
    /// on the ledger's own address if `None`.
    pub listen: Option<SocketAddr>,
    /// How long an entry may wait for a checkpoint.
    pub uncovered_max: Duration,
    /// For how many periods of checkpoints an entry may wait for the witnesses' quorum, beside
    /// [`Monitoring::uncovered_max`].
    pub unwitnessed_periods_max: u32,
}

impl Default for Monitoring {
    /// 512 MiB, no plain address, 10 seconds, 10 periods.
    fn default() -> Self {
        Self {
            // Two segments: time for a person to come at a quarter of the full append rate.
            disk_free_bytes_min: 512 << 20,
            listen: None,
            // Ten times what a period and a mute witness take.
            uncovered_max: Duration::from_secs(10),
            unwitnessed_periods_max: 10,
        }
    }
}

/// Whether entries are accepted and covered as they should be.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// What is not as it should be, for people.
    pub(crate) reasons: Vec<String>,
}

impl Readiness {
    /// Looks at the log as it is now.
    pub(crate) fn of(shared: &Shared) -> Self {
        let limits = &shared.monitoring;
        let mut reasons = Vec::new();
        if shared.has_failed() {
            reasons.push("the log has stopped accepting entries; see its log, and restart it".to_owned());
        }
        match disk_free(shared) {
            Some(free) if free < limits.disk_free_bytes_min => {
                reasons.push(format!("the disk has {free} bytes left; expected {}", limits.disk_free_bytes_min));
            }
            Some(_) => {}
            None => reasons.push("how much room the disk has cannot be read".to_owned()),
        }
        let covering = shared.metrics.covering();
        let late = |since: Option<std::time::Instant>, max: Duration| {
            since.map(|since| since.elapsed()).filter(|waited| *waited > max).map(|waited| waited.as_secs())
        };
        if let Some(seconds) = late(covering.uncovered, limits.uncovered_max) {
            reasons.push(format!("entries wait for a checkpoint since {seconds} s"));
        }
        let quorum_max = limits.uncovered_max + shared.interval * limits.unwitnessed_periods_max;
        if shared.coverage.has_witnesses()
            && let Some(seconds) = late(covering.unwitnessed, quorum_max)
        {
            reasons.push(format!("entries wait for a quorum of witnesses since {seconds} s"));
        }
        Self { ready: reasons.is_empty(), reasons }
    }
}

/// All metrics, as Prometheus reads them.
pub(crate) fn metrics(shared: &Shared) -> String {
    let mut text = Text::default();
    text.gauge(
        "build_info",
        "Which build this is; always 1.",
        [([("version", env!("CARGO_PKG_VERSION"))].as_slice(), 1.0)],
    );
    let metrics = &shared.metrics;
    let none: &[(&str, &str)] = &[];
    let one = |value: u64| [(none, float(value))];
    let queued = metrics.queued.load(std::sync::atomic::Ordering::Relaxed);
    text.gauge("queue_requests", "Appends that wait to be sequenced.", one(queued));
    text.histogram("batch_entries", "Entries that became durable together.", 1.0, [(none, &metrics.batch_entries)]);
    text.histogram("sync_seconds", "Time to write a batch and make it durable.", MICROS, [(none, &metrics.sync)]);
    let classes = [[("class", "durable")], [("class", "committed")], [("class", "witnessed")]];
    let acks = classes.iter().map(<[_; 1]>::as_slice).zip(&metrics.acks);
    text.histogram("ack_seconds", "Time from an append to its answer, by what the answer promises.", MICROS, acks);
    sizes(&mut text, shared);
    let now = shared.clock.now();
    witnesses(&mut text, shared, now);
    let stamps = metrics.stamps();
    let stamps: Vec<_> = stamps.iter().map(|(name, at)| ([("authority", name.as_str())], seconds(*at, now))).collect();
    let samples = stamps.iter().map(|(labels, age)| (labels.as_slice(), *age));
    text.gauge("timestamp_age_seconds", "Time since each time-stamping authority's last stamp.", samples);
    let refusals: Vec<_> = metrics.refusals().map(|(cause, count)| ([("cause", cause)], float(count))).collect();
    let samples = refusals.iter().map(|(labels, count)| (labels.as_slice(), *count));
    text.counter("refused_total", "Requests that were refused, and groups of appends, by cause.", samples);
    let blobs = shared.blobs.bytes().map(|bytes| (none, float(bytes)));
    text.gauge("blobs_bytes", "Bytes of all blobs, once they are counted.", blobs);
    let free = disk_free(shared).map(|free| (none, float(free)));
    text.gauge("disk_free_bytes", "Bytes that the data directory's disk has left.", free);
    let ready = u64::from(Readiness::of(shared).ready);
    text.gauge("ready", "1 if /readyz says so.", one(ready));
    text.into_string()
}

fn sizes(text: &mut Text, shared: &Shared) {
    let none: &[(&str, &str)] = &[];
    let one = |value: u64| [(none, float(value))];
    text.gauge("tree_entries", "Durable entries.", one(shared.durable_size()));
    let published = shared.published().map_or(0, |published| published.size);
    text.gauge("checkpoint_entries", "Entries under the latest checkpoint.", one(published));
    let minimum = shared.pruned().map_or(0, |pruned| pruned.minimum_index);
    text.gauge("minimum_index", "Entries below it are pruned.", one(minimum));
    let covering = shared.metrics.covering();
    let age = |since: Option<std::time::Instant>| since.map(|since| (none, since.elapsed().as_secs_f64()));
    text.gauge("checkpoint_age_seconds", "Time since the latest checkpoint was published.", age(covering.published));
    let waiting: [Sample<'_>; 1] = [(none, age(covering.uncovered).map_or(0.0, |(_, age)| age))];
    text.gauge("uncovered_seconds", "For how long the oldest entry without a checkpoint waits.", waiting);
}

fn witnesses(text: &mut Text, shared: &Shared, now: UnixMillis) {
    let standings = shared.coverage.standings();
    let published = shared.published().map_or(0, |published| published.size);
    let labels: Vec<_> = standings.iter().map(|standing| [("witness", standing.name.as_str())]).collect();
    let of = |value: &dyn Fn(usize) -> Option<f64>| -> Vec<(usize, f64)> {
        (0..standings.len()).filter_map(|number| value(number).map(|value| (number, value))).collect()
    };
    let lags =
        of(&|number| standings.get(number).map(|standing| float(published.saturating_sub(standing.cosigned_size))));
    let ages = of(&|number| {
        let at = standings.get(number)?.cosigned_at?;
        Some(seconds(UnixMillis(at.saturating_mul(1_000)), now))
    });
    let mut gauge = |name: &str, help: &str, values: &[(usize, f64)]| {
        let samples = values.iter().filter_map(|(number, value)| Some((labels.get(*number)?.as_slice(), *value)));
        text.gauge(name, help, samples);
    };
    gauge("witness_lag_entries", "Published entries that each witness has not cosigned since the start.", &lags);
    gauge("witness_age_seconds", "Time since each witness's last cosignature, by its clock.", &ages);
}

fn seconds(at: UnixMillis, now: UnixMillis) -> f64 {
    float(now.0.saturating_sub(at.0)) / 1_000.0
}

fn disk_free(shared: &Shared) -> Option<u64> {
    let found = rustix::fs::statvfs(shared.root.path()).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Histograms of time count microseconds.
const MICROS: f64 = 1_000_000.0;
