#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use messages::cbor;
use messages::ledger::BLOB_BYTES_MAX;
use transport::client::Outgoing;
use transport::server::Limits;

use crate::entries::{action, fleet, request};
use crate::hostile::Misdeed;
use crate::rig::{Caller, Rig, send};

/// The shortest patience that a machine at work keeps for those who behave.
const SHORT: Duration = Duration::from_millis(1_500);

/// The blob that the deaf ask for: the digest of nothing but zeros.
const LONG: &str = "/ledger/v1/blobs/83ee47245398adee79bd9c0a8bc57b821e92aba10f5f9ade8a5d1fae4d8c4302";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bad_clients_are_cut_off_while_a_good_one_goes_on_appending() {
    let mut rig = Rig::new();
    rig.limits = Limits {
        body_timeout: SHORT,
        handshake_timeout: SHORT,
        head_timeout: SHORT,
        idle_timeout: SHORT,
        write_stall_timeout: SHORT,
        ..Limits::default()
    };
    let served = rig.serve().await;
    let stored = rig.ledger_client(&served.url).put_blob(vec![0; BLOB_BYTES_MAX]).await.unwrap();
    assert!(LONG.ends_with(&stored.to_string()), "{stored}");

    let done = Arc::new(AtomicBool::new(false));
    let good = {
        let (client, url, done) = (rig.http(Caller::Service), served.url.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut appended = 0;
            while !done.load(Ordering::Relaxed) {
                let body = Bytes::from(cbor::encode(&request(appended, vec![fleet(vec![action("good")])])));
                let outgoing = Outgoing::new(Method::POST, format!("{url}/ledger/v1/append"));
                let answer = send(&client, outgoing.with_body("application/cbor", body)).await;
                assert_eq!(answer.status, StatusCode::OK, "append {appended}");
                appended += 1;
            }
            appended
        })
    };

    let expected: [(Misdeed, &[&str]); 11] = [
        (Misdeed::Mute, &[]),
        (Misdeed::Shaken, &[]),
        (Misdeed::SlowHead, &[]),
        (Misdeed::SlowBody, &["408"]),
        (Misdeed::LongHead, &["431"]),
        (Misdeed::LongBody, &["413"]),
        (Misdeed::EndlessBody, &["408", "413"]),
        (Misdeed::NoTls, &[]),
        (Misdeed::NoHttp, &["400"]),
        (Misdeed::NoCbor, &["400"]),
        (Misdeed::Deaf(LONG), &["200"]),
    ];
    assert!(
        Misdeed::ALL
            .iter()
            .all(|misdeed| expected.iter().any(|(known, _)| discriminant(known) == discriminant(misdeed)))
    );
    let hostile = Arc::new(rig.hostile(&served.url));
    let begun = Instant::now();
    let attacks = expected.into_iter().flat_map(|case| [case; 3]).map(|(misdeed, statuses)| {
        let hostile = Arc::clone(&hostile);
        let attack = move || {
            let deaf = matches!(misdeed, Misdeed::Deaf(_));
            let patience = if deaf { 3 * SHORT } else { Duration::from_secs(30) };
            let answer = hostile.run(misdeed, || begun.elapsed() > patience).unwrap();
            let answer = answer.unwrap_or_else(|| panic!("{misdeed:?} was not cut off"));
            (misdeed, statuses, answer)
        };
        tokio::task::spawn_blocking(attack)
    });
    for attack in attacks.collect::<Vec<_>>() {
        let (misdeed, statuses, answer) = attack.await.unwrap();
        assert!(answer.len() < BLOB_BYTES_MAX, "{misdeed:?} got all of the answer that it did not read");
        let text = String::from_utf8_lossy(answer.get(..answer.len().min(200)).unwrap_or_default()).into_owned();
        // A reset may overtake an answer; what is answered is the right thing.
        if text.starts_with("HTTP/1.1 ") {
            assert!(
                statuses.iter().any(|status| text.starts_with(&format!("HTTP/1.1 {status}"))),
                "{misdeed:?}: {text}"
            );
        }
    }
    done.store(true, Ordering::Relaxed);
    let appended = good.await.unwrap();
    assert!(appended > 20, "{appended} appends in {:?}", begun.elapsed());
    let info = rig.ledger_client(&served.url).info().await.unwrap();
    assert_eq!(info.durable_size, 2 + appended, "what was refused is not in the log");
    served.stop().await;
}
