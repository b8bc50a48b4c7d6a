//! Metrics as a stranger's parser reads them, and whether readiness tells the truth.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::StatusCode;
use ledger_server::{StartError, start};
use messages::ledger::Head;
use prometheus_parse::{Scrape, Value};
use transport::client::Client;
use transport::server::Shutdown;

use crate::entries::{action, agent, fleet, group, retire};
use crate::rig::{Caller, Rig, body, get, header};

/// Values by name and labels; histograms by their number of values.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    async fn read(client: &Client, url: &str) -> Self {
        let answer = get(client, url, "/metrics").await;
        assert_eq!(header(&answer.headers, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let described = |word: &str| -> BTreeSet<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(word));
            lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let (helped, typed) = (described("# HELP "), described("# TYPE "));
        assert_eq!(helped, typed, "each has both");
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        let mut values = BTreeMap::new();
        for sample in scrape.samples {
            let is_described = typed.contains(&sample.metric)
                || ["_sum", "_count"]
                    .iter()
                    .any(|end| sample.metric.strip_suffix(end).is_some_and(|name| typed.contains(name)));
            assert!(is_described, "{}", sample.metric);
            let mut name = sample.metric.strip_prefix("attestry_ledger_").unwrap().to_owned();
            for label in sample.labels.values() {
                name.push_str(&format!(" {label}"));
            }
            let value = match sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                Value::Histogram(buckets) => {
                    let counts: Vec<f64> = buckets.iter().map(|bucket| bucket.count).collect();
                    assert!(counts.is_sorted() && buckets.last().unwrap().less_than.is_infinite(), "{name}");
                    *counts.last().unwrap()
                }
                Value::Summary(_) => panic!("no summaries"),
            };
            assert!(values.insert(name.clone(), value).is_none(), "{name} comes twice");
        }
        Self(values)
    }

    fn of(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("{name} is not in {:?}", self.0.keys()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_follow_what_happens() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let http = rig.http(Caller::Auditor);
    let before = Metrics::read(&http, &served.url).await;
    assert_eq!((before.of("build_info 0.1.0"), before.of("tree_entries")), (1.0, 2.0));
    let client = rig.ledger_client(&served.url);
    for _ in 0..3 {
        client.append(fleet(vec![action("x"); 4])).await.unwrap();
    }
    client.put_blob(vec![7; 1_000]).await.unwrap();
    client.append(group(&agent("nobody"), Head::default(), vec![retire()])).await.unwrap_err();
    client.append(group(&agent("nobody"), Head { seq: 3, ..Head::default() }, vec![retire()])).await.unwrap_err();
    assert_eq!(get(&http, &served.url, "/ledger/v1/entries/99").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&http, &served.url, "/ledger/v1/entries/x").await.status, StatusCode::BAD_REQUEST);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let after = loop {
        let after = Metrics::read(&http, &served.url).await;
        if after.of("checkpoint_entries") >= 14.0 && after.0.contains_key("blobs_bytes") {
            break after;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((after.of("tree_entries"), after.of("queue_requests"), after.of("minimum_index")), (14.0, 0.0, 0.0));
    for name in ["batch_entries", "sync_seconds"] {
        assert!(after.of(name) >= before.of(name) + 3.0, "{name}");
    }
    let sum = "batch_entries_sum";
    assert!((after.of(sum) - before.of(sum) - 12.0).abs() < 0.5);
    assert_eq!((after.of("ack_seconds durable"), after.of("ack_seconds witnessed")), (5.0, 0.0));
    let refused =
        ["rule", "conflict", "not-found", "malformed"].map(|cause| after.of(&format!("refused_total {cause}")));
    assert_eq!(refused, [1.0, 1.0, 1.0, 1.0]);
    assert!(after.of("blobs_bytes") >= 1_000.0 && after.of("disk_free_bytes") > 0.0);
    assert!(after.of("checkpoint_age_seconds") < 60.0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_readers_or_for_this_machine() {
    let mut rig = Rig::new();
    rig.monitoring.listen = Some(([127, 0, 0, 1], 0).into());
    let served = rig.serve().await;
    let anonymous = rig.http(Caller::Anonymous);
    assert_eq!(get(&anonymous, &served.url, "/metrics").await.status, StatusCode::FORBIDDEN);
    let plain = format!("http://{}", served.monitoring().unwrap());
    Metrics::read(&anonymous, &plain).await;
    for (url, path) in [(&plain, "/healthz"), (&plain, "/readyz"), (&served.url, "/healthz"), (&served.url, "/readyz")]
    {
        body(&anonymous, url, path).await;
    }
    let other = get(&anonymous, &plain, "/checkpoint").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "nothing else is there");
    served.stop().await;
    let mut config = rig.config();
    config.log.monitoring.listen = Some(([0, 0, 0, 0], 0).into());
    let (_stop, shutdown) = Shutdown::new();
    assert!(matches!(start(config, shutdown).await, Err(StartError::NotLoopback { .. })));
}

async fn reasons(client: &Client, url: &str) -> (StatusCode, String) {
    let answer = get(client, url, "/readyz").await;
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["ready"].as_bool(), Some(answer.status == StatusCode::OK));
    (answer.status, value["reasons"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_without_room_is_not_ready() {
    let mut rig = Rig::new();
    rig.monitoring.disk_free_bytes_min = u64::MAX;
    let served = rig.serve().await;
    let client = rig.http(Caller::Anonymous);
    let (status, reasons) = reasons(&client, &served.url).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reasons.contains("bytes left"), "{reasons}");
    assert_eq!(get(&client, &served.url, "/healthz").await.status, StatusCode::OK, "it lives");
    let metrics = Metrics::read(&rig.http(Caller::Admin), &served.url).await;
    assert!(metrics.of("ready").abs() < 0.5);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_checkpoints_are_late_is_not_ready() {
    let mut rig = Rig::new();
    rig.interval = Duration::from_secs(3_600);
    rig.monitoring.uncovered_max = Duration::from_millis(50);
    let served = rig.serve().await;
    let client = rig.http(Caller::Anonymous);
    assert_eq!(reasons(&client, &served.url).await.0, StatusCode::OK, "everything is covered");
    rig.ledger_client(&served.url).append(fleet(vec![action("waits an hour")])).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let (status, reasons) = reasons(&client, &served.url).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(reasons.contains("wait for a checkpoint"), "{reasons}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_disk_has_failed_neither_lives_nor_is_ready() {
    let rig = Rig::new();
    let process = rig.spawn("trap '' XFSZ; ulimit -f 6000;");
    let url = process.url.clone().unwrap();
    let client = rig.ledger_client(&url);
    let text = "x".repeat(900);
    while client.append(fleet(vec![action(&text); 64])).await.is_ok() {}
    let http = rig.http(Caller::Anonymous);
    assert_eq!(get(&http, &url, "/healthz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, reasons) = reasons(&http, &url).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains("stopped accepting"), "{reasons}");
    process.kill();
}
