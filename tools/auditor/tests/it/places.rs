//! One log in all its places, a ledger, its directory, an exported folder, a mirror: the same proofs, the same replays; and
//! what is left of them where entries were pruned.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use fixtures_tsa::{Authority as Tsa, Certificate, Served};
use ledger_history::interval::IntervalProof;
use ledger_protocol::body::VerdictResult;
use ledger_server::{
    ExportedBlobs, HistoriesConfig, Ledger, LogConfig, PruneBelow, PruneRequest, StampingConfig, export,
};
use serde_json::Value;

use crate::exported::{Stand, code, errors};

fn configure(log: &mut LogConfig) {
    let (epoch, idle_checkpoint_interval) = (Duration::from_secs(1), Duration::from_secs(1));
    log.histories = Some(HistoriesConfig { epoch, idle_checkpoint_interval });
    log.segment_bytes_max = 6_000;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_the_same_from_every_place_of_a_log_with_the_tokens_in_it() {
    let authority = Arc::new(Tsa::new(&Certificate::default()));
    let served = Served::new(Arc::clone(&authority));
    let pem = tempfile::NamedTempFile::new().unwrap();
    fs::write(pem.path(), authority.read("ca.pem")).unwrap();
    let tsa = vec![format!("tsa={}", served.url()).parse().unwrap()];
    let (second, month) = (Duration::from_secs(1), Duration::from_secs(10 * 24 * 60 * 60));
    let stamping = StampingConfig::load(tsa, pem.path(), None, second, month).unwrap();
    let mut stand = Stand::with(|log| {
        configure(log);
        log.stamping = Some(stamping);
    })
    .await;
    stand.enrol().await;
    stand.round(VerdictResult::Pass).await;
    let begin = chrono::Utc::now();
    let (from, to) = (begin - chrono::TimeDelta::hours(1), begin + chrono::TimeDelta::seconds(1));
    let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
    let (url, tls) = (stand.url(), stand.path("tls").display().to_string());
    let vkey = stand.running.vkey().to_owned();
    let mirror = stand.path("mirror").display().to_string();
    let monitor = ["monitor", "--ledger", &url, "--tls-dir", &tls, "--mirror", &mirror, "--log-key", &vkey, "--once"];
    let deadline = Instant::now() + Duration::from_secs(120);
    for number in 0.. {
        assert!(Instant::now() < deadline, "the proofs become the same");
        // A stamp comes with something that is worth one.
        stand.noise(1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let prove = async |name: &str, place: &[&str]| {
            let file = stand.path(&format!("{name}-{number}")).display().to_string();
            let asked = ["prove", "--agent", "node-1", "--from", &from, "--to", &to, "-o", &file];
            let made = stand.audit(&[&asked[..], place].concat()).await;
            (code(&made) == 0).then(|| fs::read(&file).unwrap()).ok_or_else(|| errors(&made))
        };
        let proof = match prove("ledger", &["--ledger", &url, "--tls-dir", &tls]).await {
            Ok(proof) => proof,
            Err(error) => {
                eprintln!("the ledger proves nothing yet: {error}");
                continue;
            }
        };
        let stamps = IntervalProof::decode(&proof).unwrap().stamps.len();
        eprintln!("the ledger's proof has {stamps} stamps");
        let _ = stand.audit(&[&monitor[..], &["--without-evidence"]].concat()).await;
        let (data, out) = (stand.path("ledger"), stand.path(&format!("exported-{number}")));
        export(&data, &out, ExportedBlobs::Histories).unwrap();
        if stamps == 0 {
            continue;
        }
        let (data, out) = (data.display().to_string(), out.display().to_string());
        let places = [
            ("data", vec!["--log", &data]),
            ("url", vec!["--log", &url, "--tls-dir", &tls]),
            ("export", vec!["--log", &out]),
            ("mirror", vec!["--log", &mirror]),
        ];
        let mut all = true;
        for (name, place) in &places {
            let other = prove(name, place).await;
            all &= other.as_ref() == Ok(&proof);
            eprintln!("{name}: {:?} of {} bytes", other.map(|other| other.len()), proof.len());
        }
        if !all {
            continue;
        }
        // The token is what bounds its time.
        let (file, roots) =
            (stand.path(&format!("mirror-{number}")).display().to_string(), pem.path().display().to_string());
        let verified = stand.audit(&["verify", &file, "--log-key", &vkey, "--tsa-ca", &roots, "--json"]).await;
        let text = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(code(&verified) == 0 && text.contains("stamped"), "{text}{}", errors(&verified));
        // From an exported folder histories and censuses are computed as from the ledger's own directory.
        for (name, place) in [("data", &data), ("export", &out), ("mirror", &mirror)] {
            let replayed = stand.audit(&["replay", place, "--log-key", &vkey, "--without-evidence", "--json"]).await;
            let report: Value = serde_json::from_slice(&replayed.stdout).unwrap();
            assert_eq!(
                (code(&replayed), report["findings"]["list"].as_array().unwrap().len()),
                (0, 0),
                "{name}: {report}"
            );
            assert!(report["counts"]["notes"].as_u64().unwrap() > 2, "{name}: {report}");
        }
        break;
    }
    stand.stop().await;
}

/// Prunes a stopped log up to an entry.
fn prune(config: &LogConfig, below: u64) -> u64 {
    let ledger = Ledger::open(config).unwrap();
    let (actor, reason) = ("admin".to_owned(), "test".to_owned());
    let blob_grace = Duration::ZERO;
    ledger.prune(&PruneRequest { actor, below: PruneBelow::Index(below), blob_grace, reason }).unwrap().first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_log_is_replayed_and_followed_from_its_first_entry_and_says_what_it_rests_on() {
    let mut stand = Stand::with(configure).await;
    stand.enrol().await;
    for _ in 0..6 {
        stand.round(VerdictResult::Pass).await;
        stand.noise(60).await;
    }
    let (tls, vkey, roots) = (stand.path("tls").display().to_string(), stand.running.vkey().to_owned(), stand.roots());
    let path = |name: &str| stand.path(name).display().to_string();
    let (data, mirror, export_before, export_after) = (path("ledger"), path("mirror"), path("before"), path("after"));
    let fresh: Vec<String> = ["fresh-0", "fresh-1", "fresh-2"].map(path).into();
    let watch = async |stand: &Stand, place: &str, mirror: &str, more: &[&str]| {
        let (url, place) = (stand.url(), place.to_owned());
        let place = if place.is_empty() { url } else { place };
        let common = ["monitor", "--ledger", &place, "--tls-dir", &tls, "--mirror", mirror, "--log-key", &vkey];
        let watched = stand.audit(&[&common[..], &["--roots", &roots, "--once"], more].concat()).await;
        (code(&watched), String::from_utf8_lossy(&watched.stdout).into_owned() + &errors(&watched))
    };
    // A mirror, and an export, from before.
    let deadline = Instant::now() + Duration::from_secs(60);
    let all = stand.client.info().await.unwrap().durable_size;
    let covered = |mirror: &str| {
        let note = fs::read_to_string(format!("{mirror}/checkpoint")).unwrap_or_default();
        note.lines().nth(1).and_then(|size| size.parse::<u64>().ok()).unwrap_or(0)
    };
    while watch(&stand, "", &mirror, &[]).await != (0, String::new()) || covered(&mirror) < all {
        assert!(Instant::now() < deadline);
    }
    export(&stand.path("ledger"), &stand.path("before"), ExportedBlobs::All).unwrap();
    let mut first = 0;
    let mut stand = stand
        .restarted(
            |folder| {
                let mut config = LogConfig::new(folder.join("ledger"));
                configure(&mut config);
                // On a thread of its own: it waits.
                first = std::thread::spawn(move || prune(&config, 200)).join().unwrap();
            },
            configure,
        )
        .await;
    assert!(first > 100 && !first.is_multiple_of(256), "{first}: entries that no bundle has are met");
    stand.round(VerdictResult::Pass).await;
    stand.noise(300).await;
    // Until a census has come out of the histories that outlived the prune.
    let replay = async |stand: &Stand, place: &str, more: &[&str]| {
        let (url, place) = (stand.url(), place.to_owned());
        let place = if place.is_empty() { url } else { place };
        let common = ["replay", &place, "--tls-dir", &tls, "--log-key", &vkey, "--roots", &roots, "--json"];
        let replayed = stand.audit(&[&common[..], more].concat()).await;
        let report: Value = serde_json::from_slice(&replayed.stdout).unwrap_or_default();
        (code(&replayed), report, errors(&replayed))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (code, report, err) = replay(&stand, "", &["--allow-pruned"]).await;
        if code == 0 {
            break;
        }
        assert!(code == 3 && Instant::now() < deadline, "{code} {report:#} {err}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    export(&stand.path("ledger"), &stand.path("after"), ExportedBlobs::All).unwrap();
    // Without the entries: from the first that is left, told so.
    for (name, place) in [("ledger", ""), ("directory", data.as_str()), ("export", &export_after)] {
        let (code, report, err) = replay(&stand, place, &[]).await;
        assert_eq!((code, &report["conclusion"]), (3, &Value::from("not-fully-checked")), "{name}: {report:#}{err}");
        let found = report["findings"]["list"].as_array().unwrap();
        assert_eq!(
            (found.len(), &found[0]["check"], &found[0]["index"]),
            (1, &"pruned".into(), &first.into()),
            "{name}"
        );
        let part = &report["pruned"];
        assert!(
            part["histories_of"].as_u64().unwrap() >= first && part["kept"].as_u64().unwrap() > 2,
            "{name}: {part}"
        );
        assert!(part["census"].as_u64() > part["histories_of"].as_u64(), "{name}: {part}");
        assert!(report["counts"]["judged"].as_u64().unwrap() >= 1, "{name}: {report:#}");
        let (code, report, _) = replay(&stand, place, &["--allow-pruned"]).await;
        assert_eq!((code, &report["conclusion"]), (0, &Value::from("verified")), "{name}: {report:#}");
    }
    // A mirror from before has all of it, and goes on; so has an export.
    let (code_, told) = watch(&stand, "", &mirror, &[]).await;
    assert_eq!((code_, told.as_str()), (0, ""));
    export(&stand.path("ledger"), &stand.path("before"), ExportedBlobs::All).unwrap();
    for place in [&mirror, &export_before] {
        let (code, report, err) = replay(&stand, place, &[]).await;
        assert_eq!((code, &report["pruned"]), (0, &Value::Null), "{place}: {report:#}{err}");
    }
    // Mirrors that begin now begin there, say so once, and go on as any.
    for (place, own) in ["", export_after.as_str(), data.as_str()].into_iter().zip(&fresh) {
        let (code, told) = watch(&stand, place, own, &[]).await;
        assert!(
            code == 3 && told.lines().count() == 1 && told.contains("\"check\":\"pruned\""),
            "{place}: {code} {told}"
        );
        stand.round(VerdictResult::Pass).await;
        let (code, told) = watch(&stand, place, own, &[]).await;
        assert_eq!((code, told.as_str()), (0, ""), "{place}");
        let (code, report, err) = replay(&stand, own, &["--allow-pruned"]).await;
        assert_eq!((code, report["pruned"]["first"].as_u64()), (0, Some(first)), "{place}: {report:#}{err}");
    }
    // What a proof is made of went with the entries, but not for the ledger, nor for who has had them.
    let url = stand.url();
    let prove = async |file: &str, from: &str, place: &[&str]| {
        let file = stand.path(file).display().to_string();
        let asked = ["prove", "--agent", "node-1", "--from", from, "--to", "now", "-o", &file, "--tls-dir", &tls];
        let made = stand.audit(&[&asked[..], place].concat()).await;
        (code(&made), errors(&made))
    };
    assert_eq!(prove("by-mirror", "-1h", &["--log", &mirror]).await.0, 0);
    // The quotes beside the ends of this one are there.
    let by_ledger = prove("by-ledger", "now", &["--ledger", &url]).await;
    assert_eq!(by_ledger.0, 0, "{}", by_ledger.1);
    for place in [&data, &export_after, &fresh[0], &url] {
        let (code, err) = prove("none", "-1h", &["--log", place]).await;
        assert!(code == 3 && err.contains("were pruned") && err.contains("--ledger"), "{place}: {code} {err}");
    }
    // What the log says of what was pruned is held against the leaves.
    for (file, place, name) in [("kept", 300, "a kept entry"), ("boundary", 60, "the root")] {
        let path = stand.path("after/pruned").join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, bad).unwrap();
        let (code, report, err) = replay(&stand, &export_after, &["--allow-pruned"]).await;
        assert!(code == 1 || !err.is_empty(), "{name}: {code} {report:#} {err}");
        eprintln!("{name} altered: {} {err}", report["findings"]["list"][0]);
        fs::write(&path, good).unwrap();
    }
    stand.stop().await;
}
