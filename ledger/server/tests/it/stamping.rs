//! Checkpoints stamped by authorities on sockets: honest, forging, refusing, dead, revoked.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixtures_tsa::{Authority, Certificate};
use http::{Method, StatusCode};
use ledger_history::interval::{Strength, Trust, verify};
use ledger_protocol::body::{Body, TimestampBody, VerdictResult};
use ledger_protocol::{Entry, Kind};
use ledger_server::{StampingAuthority, StampingConfig, fsck};
use ledger_timestamp::Authorities;
use messages::cbor;
use tokio::task::JoinHandle;
use transport::router::{Access, Response, Route, Router};
use transport::server::{Drained, Limits, Server, Shutdown, ShutdownHandle};
use transport::tls::{ClientTls, ClientTlsConfig, HostNames};

use crate::entries::{action, fleet};
use crate::histories::{self, Machine};
use crate::rig::{Caller, Rig, Served, body};

/// What an authority does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    /// Stamps it.
    Honest,
    /// Answers 500.
    Broken,
    /// Answers something else.
    Garbage,
    /// Repeats its first answer for ever.
    Replaying,
}

/// An authority on a loopback port.
struct Tsa {
    authority: Arc<Authority>,
    /// Requests so far.
    asked: Arc<Mutex<u32>>,
    conduct: Arc<Mutex<Conduct>>,
    /// The revocation list that is served; none is 404.
    list: Arc<Mutex<Option<Vec<u8>>>>,
    _server: JoinHandle<Drained>,
    _stop: ShutdownHandle,
    url: String,
}

impl Tsa {
    async fn new(days: u32, with_list: bool) -> Self {
        let asked = Arc::new(Mutex::new(0));
        let conduct = Arc::new(Mutex::new(Conduct::Honest));
        let list: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
        let slot: Arc<Mutex<Option<Arc<Authority>>>> = Arc::default();
        let first: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
        let served = (Arc::clone(&asked), Arc::clone(&conduct), Arc::clone(&slot));
        let stamp = Route::new(Method::POST, "/tsr", Access::PUBLIC, 65_536, move |request| {
            let (asked, conduct, slot) = served.clone();
            let first = Arc::clone(&first);
            async move {
                *asked.lock().unwrap() += 1;
                let conduct = *conduct.lock().unwrap();
                let authority = slot.lock().unwrap().clone().unwrap();
                let reply = tokio::task::spawn_blocking(move || authority.reply(&request.body)).await.unwrap();
                let first = first.lock().unwrap().get_or_insert_with(|| reply.clone()).clone();
                let (status, body) = match conduct {
                    Conduct::Honest => (StatusCode::OK, reply),
                    Conduct::Broken => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
                    Conduct::Garbage => (StatusCode::OK, b"garbage".to_vec()),
                    Conduct::Replaying => (StatusCode::OK, first),
                };
                Response::new(status, "application/timestamp-reply", body)
            }
        });
        let lists = Arc::clone(&list);
        let crl = Route::new(Method::GET, "/crl", Access::PUBLIC, 0, move |_| {
            let list = lists.lock().unwrap().clone();
            async move {
                match list {
                    Some(list) => Response::new(StatusCode::OK, "application/pkix-crl", list),
                    None => Response::empty(StatusCode::NOT_FOUND),
                }
            }
        });
        let router = Router::new(vec![stamp, crl]).unwrap();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), None, router, Limits::default()).await.unwrap();
        let url = format!("http://{}", server.local_addr());
        let crl_address = with_list.then(|| format!("{url}/crl"));
        let authority = Arc::new(Authority::new(&Certificate { crl_address, days, ..Certificate::default() }));
        *slot.lock().unwrap() = Some(Arc::clone(&authority));
        let (stop, shutdown) = Shutdown::new();
        let server = tokio::spawn(server.run(shutdown));
        Self { authority, asked, conduct, list, _server: server, _stop: stop, url: format!("{url}/tsr") }
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

/// Has the rig's log stamped by `authorities`, trusting the roots of `trusted`.
fn stamped_by(rig: &mut Rig, authorities: &[(&str, &Tsa)], trusted: &[&Tsa], period: Duration) {
    let mut roots = Authorities::new();
    for tsa in trusted {
        roots.trust_pem(&tsa.authority.read("ca.pem")).unwrap();
    }
    let authorities = authorities.iter().map(|(name, tsa)| format!("{name}={}", tsa.url).parse().unwrap()).collect();
    let tls = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
    let renew_before = Duration::from_secs(10 * 24 * 60 * 60);
    let tls = ClientTls::new(&tls).unwrap();
    rig.stamping = Some(StampingConfig::new(authorities, period, renew_before, tls, roots).unwrap());
}

/// The files `<size>/<name>` of finished stamps, in order.
fn kept(rig: &Rig, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for size in fs::read_dir(rig.data().join("timestamps")).unwrap() {
        for file in fs::read_dir(size.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort_by_key(|path| path.parent().unwrap().file_name().unwrap().to_string_lossy().parse::<u64>().unwrap());
    found
}

async fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Bodies of all timestamp entries, and the log's size.
async fn logged(rig: &Rig, served: &Served) -> Vec<TimestampBody> {
    let page = rig.ledger_client(&served.url).entries(None, 0, 1_000).await.unwrap();
    let entries = page.entries.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap());
    let stamps = entries.filter(|entry| entry.kind == Kind::Timestamp);
    stamps.map(|entry| TimestampBody::decode(&entry.body).unwrap()).collect()
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_stamped_kept_logged_served_and_believed_by_openssl() {
    stamp_and_flip(12).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; a dozen bytes of each file are part of every test"]
async fn every_flipped_byte_of_a_stamp_is_found() {
    stamp_and_flip(usize::MAX).await;
}

/// Flips `places` bytes of each file of two stamps, or all of them.
async fn stamp_and_flip(places: usize) {
    let (one, two) = (Tsa::new(30, true).await, Tsa::new(30, false).await);
    *one.list.lock().unwrap() = Some(one.authority.revocation_list(None));
    let mut rig = Rig::new();
    stamped_by(&mut rig, &[("one", &one), ("two", &two)], &[&one, &two], HOUR);
    let served = rig.serve().await;
    wait_for("both stamps are logged", || kept(&rig, ".logged").len() == 2).await;
    let stamps = logged(&rig, &served).await;
    assert_eq!(stamps.len(), 2);
    let client = rig.ledger_client(&served.url);
    for stamp in &stamps {
        let tsa = if stamp.tsa == "one" { &one } else { &two };
        let note = client.blob(&stamp.note).await.unwrap();
        let kept = fs::read(rig.data().join(format!("checkpoints/{}", stamp.tree_size))).unwrap();
        assert_eq!(note, kept);
        let http = rig.http(Caller::Auditor);
        let folder = format!("/ledger/v1/timestamps/{}", stamp.tree_size);
        let names: Vec<String> = cbor::decode(&body(&http, &served.url, &folder).await).unwrap();
        assert!(names.contains(&format!("{}.chain.pem", stamp.tsa)), "{names:?}");
        assert!(stamp.tsa != "one" || names.contains(&"one.0.crl".to_owned()), "{names:?}");
        let response = body(&http, &served.url, &format!("{folder}/{}.tsr", stamp.tsa)).await;
        assert!(tsa.authority.openssl_believes(&response, &note));
        assert!(!tsa.authority.openssl_believes(&response, &[note.as_slice(), b"\n"].concat()));
        assert!(response.ends_with(&client.blob(&stamp.token).await.unwrap()));
    }
    served.stop().await;
    let report = fsck(&rig.data()).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    for end in [".tsq", ".tsr", ".chain.pem", ".crl", ".logged"] {
        let files = kept(&rig, end);
        assert!(!files.is_empty());
        for file in files {
            let whole = fs::read(&file).unwrap();
            for at in (0..whole.len()).step_by(1 + whole.len() / places).chain([whole.len() - 1]) {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << (at % 8);
                fs::write(&file, &flipped).unwrap();
                assert!(!fsck(&rig.data()).unwrap().is_sound(), "byte {at} of {}", file.display());
            }
            fs::write(&file, &whole).unwrap();
        }
    }
    assert!(fsck(&rig.data()).unwrap().findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_come_with_entries_and_do_not_feed_on_themselves() {
    let tsa = Tsa::new(30, false).await;
    let mut rig = Rig::new();
    stamped_by(&mut rig, &[("tsa", &tsa)], &[&tsa], Duration::from_millis(100));
    let served = rig.serve().await;
    wait_for("the first stamp", || kept(&rig, ".logged").len() == 1).await;
    // Ten periods in which the log has nothing new but the stamp's own entry.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((kept(&rig, ".logged").len(), tsa.asked()), (1, 1));
    rig.ledger_client(&served.url).append(fleet(vec![action("news")])).await.unwrap();
    wait_for("a stamp on the news", || kept(&rig, ".logged").len() == 2).await;
    let stamps = logged(&rig, &served).await;
    assert!(stamps[0].tree_size < stamps[1].tree_size && stamps[0].gen_time <= stamps[1].gen_time, "{stamps:?}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_fresh_token_of_a_trusted_authority_is_not_kept() {
    let (good, bad) = (Tsa::new(30, false).await, Tsa::new(30, false).await);
    let mut rig = Rig::new();
    // Trusted by name, not by root.
    stamped_by(&mut rig, &[("good", &good), ("bad", &bad)], &[&good], Duration::from_millis(50));
    let served = rig.serve().await;
    wait_for("the good stamp", || kept(&rig, "good.logged").len() == 1).await;
    wait_for("the bad authority is asked again", || bad.asked() >= 3).await;
    assert!(kept(&rig, "bad.tsr").is_empty());
    for conduct in [Conduct::Broken, Conduct::Garbage, Conduct::Replaying] {
        *good.conduct.lock().unwrap() = conduct;
        let (before, asked) = (kept(&rig, "good.logged").len(), good.asked());
        rig.ledger_client(&served.url).append(fleet(vec![action("news")])).await.unwrap();
        wait_for("the authority is asked again", || good.asked() >= asked + 3).await;
        assert_eq!(kept(&rig, "good.logged").len(), before, "{conduct:?}");
        *good.conduct.lock().unwrap() = Conduct::Honest;
        wait_for("it recovers", || kept(&rig, "good.logged").len() > before).await;
    }
    served.stop().await;
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_authority_is_not_believed() {
    let tsa = Tsa::new(30, true).await;
    *tsa.list.lock().unwrap() = Some(tsa.authority.revocation_list(Some("keyCompromise")));
    let mut rig = Rig::new();
    stamped_by(&mut rig, &[("tsa", &tsa)], &[&tsa], Duration::from_millis(50));
    let served = rig.serve().await;
    wait_for("the authority is asked", || tsa.asked() >= 2).await;
    assert!(kept(&rig, ".tsr").is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_was_kept_and_not_logged_is_logged_at_the_next_start_once() {
    let tsa = Tsa::new(30, false).await;
    let mut rig = Rig::new();
    stamped_by(&mut rig, &[("tsa", &tsa)], &[&tsa], HOUR);
    let served = rig.serve().await;
    wait_for("the stamp", || kept(&rig, ".logged").len() == 1).await;
    let before = logged(&rig, &served).await;
    served.stop().await;
    // As if the process had died between appending and noting it.
    fs::remove_file(&kept(&rig, ".logged")[0]).unwrap();
    let served = rig.serve().await;
    wait_for("it is noted", || kept(&rig, ".logged").len() == 1).await;
    assert_eq!(logged(&rig, &served).await, before);
    assert_eq!(tsa.asked(), 1);
    served.stop().await;
    assert!(fsck(&rig.data()).unwrap().findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_is_renewed_before_its_certificate_expires_by_one_that_lasts_longer() {
    // Ten days before the end is now.
    let tsa = Tsa::new(5, false).await;
    let mut rig = Rig::new();
    stamped_by(&mut rig, &[("tsa", &tsa)], &[&tsa], HOUR);
    let served = rig.serve().await;
    wait_for("a renewal is tried", || tsa.asked() >= 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // It would have expired at the same time: it is not kept, and not tried again today.
    assert_eq!((kept(&rig, ".tsr").len(), tsa.asked()), (1, 2));
    served.stop().await;
    tsa.authority.certify(&Certificate { days: 300, ..Certificate::default() });
    let served = rig.serve().await;
    wait_for("the renewal", || kept(&rig, ".logged").len() == 2).await;
    let stamps = logged(&rig, &served).await;
    // The renewal's checkpoint covers the entry that names the old token.
    let page = rig.ledger_client(&served.url).entries(None, 0, 1_000).await.unwrap();
    let first = page.entries.iter().find(|(_, bytes)| Entry::decode(bytes).unwrap().kind == Kind::Timestamp);
    assert!(stamps[1].tree_size > first.unwrap().0);
    served.stop().await;
    assert!(fsck(&rig.data()).unwrap().is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_brought_nothing_delays_no_stamp_on_news() {
    let tsa = Tsa::new(5, false).await;
    let mut rig = Rig::new();
    stamped_by(&mut rig, &[("tsa", &tsa)], &[&tsa], Duration::from_millis(100));
    let served = rig.serve().await;
    wait_for("a renewal is tried", || tsa.asked() >= 2).await;
    assert_eq!(kept(&rig, ".tsr").len(), 1);
    rig.ledger_client(&served.url).append(fleet(vec![action("news")])).await.unwrap();
    wait_for("a stamp on the news", || kept(&rig, ".logged").len() == 2).await;
    served.stop().await;
}

#[test]
fn two_authorities_of_one_name_are_refused() {
    let tls = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
    let named = |names: [&str; 2]| {
        let authorities: Vec<StampingAuthority> =
            names.iter().map(|name| format!("{name}=http://127.0.0.1:9/").parse().unwrap()).collect();
        StampingConfig::new(authorities, HOUR, HOUR, ClientTls::new(&tls).unwrap(), Authorities::new())
    };
    assert!(named(["a", "b"]).is_ok());
    assert!(named(["a", "a"]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_an_interval_ends_in_a_stamped_checkpoint_and_carries_the_tokens() {
    let tsa = Tsa::new(100, false).await;
    let mut rig = histories::rig();
    stamped_by(&mut rig, &[("tsa1", &tsa)], &[&tsa], Duration::from_millis(100));
    let served = rig.serve().await;
    let (client, begin, key) = (rig.ledger_client(&served.url), histories::now() - 1, rig.key());
    let mut machine = Machine::enrol(&client, "node-1", 0, "hypervisor").await;
    machine.quote(&client, VerdictResult::Pass).await.unwrap();
    let end = histories::now();
    let mut authorities = Authorities::new();
    authorities.trust_pem(&tsa.authority.read("ca.pem")).unwrap();
    let trust = Trust { origin: "ledger.test/log", log: &key, witnesses: None, authorities: Some(&authorities) };
    let deadline = Instant::now() + Duration::from_secs(60);
    let stamped = loop {
        assert!(Instant::now() < deadline, "no stamped proof");
        // Something to stamp.
        client.append(fleet(vec![action("x")])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(proof) = client.interval_proof(&machine.id, begin, end, &[]).await else { continue };
        let statement = verify(&proof, &machine.id, &trust).unwrap_or_else(|error| panic!("{error:?}"));
        let stamped = statement.committed_by.iter().find(|time| time.strength == Strength::Stamped).copied();
        if let (Some(stamped), 1) = (stamped, statement.quotes) {
            break stamped;
        }
    };
    assert!(stamped.seconds >= end, "nobody stamps what is not there yet");
    // Later stamps do not replace an earlier one, which bounds more.
    let again = client.interval_proof(&machine.id, begin, end, &[]).await.unwrap();
    let again = verify(&again, &machine.id, &trust).unwrap();
    let again = again.committed_by.iter().find(|time| time.strength == Strength::Stamped).unwrap();
    assert!(again.seconds <= stamped.seconds);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_is_asked_for_after_a_stamp_is_bounded_by_it_from_below() {
    let (tsa, other) = (Tsa::new(100, false).await, Tsa::new(100, false).await);
    let mut rig = histories::rig();
    stamped_by(&mut rig, &[("one", &tsa), ("two", &other)], &[&tsa, &other], HOUR);
    let served = rig.serve().await;
    let (client, begin, key) = (rig.ledger_client(&served.url), histories::now() - 1, rig.key());
    let mut machine = Machine::enrol(&client, "node-1", 0, "hypervisor").await;
    wait_for("both stamps are logged", || kept(&rig, ".logged").len() == 2).await;
    let mut authorities = Authorities::new();
    for tsa in [&tsa, &other] {
        authorities.trust_pem(&tsa.authority.read("ca.pem")).unwrap();
    }
    let trust = Trust { origin: "ledger.test/log", log: &key, witnesses: None, authorities: Some(&authorities) };
    let deadline = Instant::now() + Duration::from_secs(60);
    let statement = loop {
        assert!(Instant::now() < deadline, "no bounded quote");
        // Until the beacon is one behind both entries.
        machine.quote(&client, VerdictResult::Pass).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(proof) = client.interval_proof(&machine.id, begin, histories::now(), &[]).await else { continue };
        let statement = verify(&proof, &machine.id, &trust).unwrap_or_else(|error| panic!("{error:?}"));
        if statement.not_before.len() >= 2 {
            break statement;
        }
    };
    for bound in &statement.not_before {
        assert_eq!((bound.time.strength, bound.beacon_by), (Strength::Stamped, None));
        // openssl's own clock and accuracy of 1.5 s; the first stamp may be of the time before the rig was looked at.
        assert!((begin - 5..=bound.quote).contains(&bound.time.seconds), "{statement:?}");
    }
    assert_eq!(statement.times, Strength::Claimed, "the times themselves became no stronger");
    served.stop().await;
}
