#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use bytes::Bytes;
use http::{Method, StatusCode};
use ledger_client::AppendError;
use ledger_protocol::body::VerdictResult;
use ledger_protocol::{Beacon, Entry, Kind};
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::proof::{ConsistencyProof, InclusionProof, verify_consistency, verify_inclusion};
use messages::cbor;
use messages::ledger::{
    APPEND_BYTES_MAX, AppendAnswer, AppendRequest, BLOB_BYTES_MAX, EntryPage, GroupResult, Head, Info, Proof,
};
use messages::{AgentId, Digest};
use transport::client::{Client, Outgoing};

use crate::entries::{action, agent, enrol, fleet, group, linked_verdict, quote, request, retire};
use crate::rig::{CALLERS, Caller, Rig, body, get, header, send};

async fn append(rig: &Rig, url: &str, request: &AppendRequest) -> AppendAnswer {
    let outgoing = Outgoing::new(Method::POST, format!("{url}/ledger/v1/append"))
        .with_body("application/cbor", cbor::encode(request));
    let answer = send(&rig.http(Caller::Service), outgoing).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    cbor::decode(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_attestation_is_appended_and_read_back() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let node = agent("node-1");
    let binding = client.put_blob(b"binding".to_vec()).await.unwrap();
    assert_eq!(client.blob(&binding).await.unwrap(), b"binding");
    assert_eq!(client.head(Some(&node)).await.unwrap(), Head::default());
    let enrolled = client.append(group(&node, Head::default(), vec![enrol(0, binding)])).await.unwrap();
    let head = Head { seq: 1, prev: enrolled[0].leaf_hash };
    assert_eq!(client.head(Some(&node)).await.unwrap(), head);
    let beacon = client.beacon().await.unwrap();
    let items = vec![quote(beacon), linked_verdict(VerdictResult::Pass)];
    let receipts = client.append(group(&node, head, items)).await.unwrap();
    let page = client.entries(Some(&node), 1, 100).await.unwrap();
    assert_eq!(page.head, Head { seq: 3, prev: receipts[1].leaf_hash });
    assert_eq!(page.entries.len(), 2);
    for ((index, bytes), receipt) in page.entries.iter().zip(&receipts) {
        assert_eq!((*index, Entry::leaf_hash(bytes)), (receipt.index, receipt.leaf_hash));
    }
    let info = client.info().await.unwrap();
    assert_eq!((info.origin.as_str(), info.next_slot, info.durable_size), ("ledger.test/log", 1, 5));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_tells_the_true_head_and_a_broken_rule_its_reason() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let node = agent("node-1");
    let enrolled = client.append(group(&node, Head::default(), vec![enrol(0, Digest::ZERO)])).await.unwrap();
    let error = client.append(group(&node, Head::default(), vec![retire()])).await.unwrap_err();
    let AppendError::Conflict(head) = error else {
        panic!("{error}");
    };
    assert_eq!(head, Head { seq: 1, prev: enrolled[0].leaf_hash });
    let forged = quote(Beacon { tree_size: 1, note_digest: Digest::ZERO });
    let error = client.append(group(&node, head, vec![forged])).await.unwrap_err();
    assert!(matches!(&error, AppendError::Refused(text) if text.contains("signed")), "{error}");
    client.append(group(&node, head, vec![retire()])).await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_verifiers_racing_on_one_agent_never_fork_its_chain() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let node = agent("node-1");
    let clients = [rig.ledger_client(&served.url), rig.ledger_client(&served.url)];
    let enrolled = clients[0].append(group(&node, Head::default(), vec![enrol(0, Digest::ZERO)])).await.unwrap();
    let start = Head { seq: 1, prev: enrolled[0].leaf_hash };
    let race = clients.clone().map(|client| {
        let node = node.clone();
        tokio::spawn(async move {
            let mut head = start;
            let (mut won, mut lost) = (0, 0);
            while won < 40 {
                let beacon = client.beacon().await.unwrap();
                match client.append(group(&node, head, vec![quote(beacon)])).await {
                    Ok(receipts) => {
                        won += 1;
                        head = Head { seq: head.seq + 1, prev: receipts[0].leaf_hash };
                    }
                    Err(AppendError::Conflict(now)) => {
                        assert!(now.seq > head.seq);
                        lost += 1;
                        head = now;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            lost
        })
    });
    let mut lost = 0;
    for racer in race {
        lost += racer.await.unwrap();
    }
    assert!(lost > 0, "they did race");
    let page = clients[0].entries(Some(&node), 0, 4_096).await.unwrap();
    assert_eq!(page.entries.len(), 81);
    let mut head = Head::default();
    for (_, bytes) in &page.entries {
        let entry = Entry::decode(bytes).unwrap();
        assert_eq!((entry.seq, entry.prev), (head.seq, head.prev));
        head = Head { seq: entry.seq + 1, prev: Entry::leaf_hash(bytes) };
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_gets_the_first_answer_also_after_a_restart() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let node = agent("node-1");
    let groups = vec![
        group(&node, Head::default(), vec![enrol(0, Digest::ZERO)]),
        group(&node, Head::default(), vec![retire()]),
        fleet(vec![]),
    ];
    let repeated = request(7, groups);
    let first = append(&rig, &served.url, &repeated).await;
    assert!(matches!(
        first.results.as_slice(),
        [GroupResult::Appended(_), GroupResult::Conflict(_), GroupResult::Refused(_)]
    ));
    assert_eq!(append(&rig, &served.url, &repeated).await, first);
    served.stop().await;
    let served = rig.serve().await;
    let size = rig.ledger_client(&served.url).info().await.unwrap().durable_size;
    assert_eq!(append(&rig, &served.url, &repeated).await, first);
    assert_eq!(rig.ledger_client(&served.url).info().await.unwrap().durable_size, size);
    let new = append(&rig, &served.url, &request(8, vec![fleet(vec![action("other content")])])).await;
    assert!(matches!(new.results.as_slice(), [GroupResult::Appended(_)]));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_with_another_request_or_by_another_caller_is_refused() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let node = agent("node-1");
    let enrolling = group(&node, Head::default(), vec![enrol(0, Digest::ZERO)]);
    let groups = |texts: [&str; 2]| vec![enrolling.clone(), fleet(texts.map(action).to_vec()), fleet(vec![])];
    let first = request(7, groups(["one", "two"]));
    let answer = append(&rig, &served.url, &first).await;
    let altered = [
        request(7, groups(["one", "three"])),
        request(7, groups(["two", "one"])),
        request(7, vec![enrolling.clone(), fleet(vec![action("one")]), fleet(vec![])]),
        request(7, vec![enrolling.clone(), fleet(vec![action("one"), action("two")]), fleet(vec![action("more")])]),
        request(7, vec![enrolling.clone(), fleet(vec![action("one"), action("two")])]),
        request(7, vec![fleet(vec![action("one"), action("two")]), enrolling.clone(), fleet(vec![])]),
        request(7, vec![]),
    ];
    let post = async |client: &Client, url: &str, request: &AppendRequest| {
        let outgoing = Outgoing::new(Method::POST, format!("{url}/ledger/v1/append"));
        send(client, outgoing.with_body("application/cbor", cbor::encode(request))).await.status
    };
    let mut served = served;
    for _ in 0..2 {
        let service = rig.http(Caller::Service);
        for request in &altered {
            let status = post(&service, &served.url, request).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{request:?}");
        }
        let other = Client::new(rig.service_tls("another"));
        assert_eq!(post(&other, &served.url, &first).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(append(&rig, &served.url, &first).await, answer);
        // What was remembered is the same after a restart.
        served.stop().await;
        served = rig.serve().await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_admits_exactly_its_roles() {
    let blob = Digest(openssl::sha::sha256(b"x"));
    for public_read in [false, true] {
        let mut rig = Rig::new();
        rig.public_read = public_read;
        let served = rig.serve().await;
        let blob_path = format!("/ledger/v1/blobs/{blob}");
        let reads = [
            blob_path.as_str(),
            "/ledger/v1/heads/~fleet",
            "/ledger/v1/agents/~fleet/entries",
            "/ledger/v1/agents/~fleet/seq-at?ms=0",
            "/ledger/v1/entries/0",
            "/ledger/v1/proof/inclusion?index=0&tree_size=2",
            "/ledger/v1/proof/consistency?old=1&new=2",
            "/ledger/v1/checkpoints",
            "/ledger/v1/checkpoints/2",
            "/ledger/v1/receipts/0",
            "/ledger/v1/consistency-receipts/1",
            "/ledger/v1/info",
        ];
        let append = cbor::encode(&request(1, vec![fleet(vec![action("x")])]));
        for caller in [Caller::Service, Caller::Admin, Caller::Anonymous, Caller::Auditor] {
            let client = rig.http(caller);
            let writes = [
                Outgoing::new(Method::PUT, format!("{}{blob_path}", served.url))
                    .with_body("application/octet-stream", Bytes::from_static(b"x")),
                Outgoing::new(Method::POST, format!("{}/ledger/v1/append", served.url))
                    .with_body("application/cbor", append.clone()),
            ];
            for write in writes {
                let status = send(&client, write).await.status;
                let expected = if caller == Caller::Service { status.is_success() } else { status == 403 };
                assert!(expected, "{caller:?} writes: {status}");
            }
        }
        for caller in CALLERS {
            let client = rig.http(caller);
            for path in reads {
                let expected = if caller == Caller::Anonymous { 403 } else { 200 };
                assert_eq!(get(&client, &served.url, path).await.status, expected, "{caller:?} {path}");
            }
            for path in [
                "/ledger/v1/agents/node-1/interval-proof?from=1&to=2",
                "/ledger/v1/fleet/interval-proof?from=1&to=2",
                "/ledger/v1/pruned/boundary",
                "/ledger/v1/pruned/histories",
            ] {
                // This ledger keeps no histories, and nothing of it was pruned.
                let expected = if caller == Caller::Anonymous { 403 } else { 404 };
                assert_eq!(get(&client, &served.url, path).await.status, expected, "{caller:?} {path}");
            }
            for path in ["/checkpoint", "/tile/0/000.p/2", "/tile/entries/000.p/2"] {
                let expected = if caller == Caller::Anonymous && !public_read { 403 } else { 200 };
                assert_eq!(get(&client, &served.url, path).await.status, expected, "{caller:?} {path}");
            }
            assert_eq!(get(&client, &served.url, "/healthz").await.body.as_ref(), b"ok\n");
        }
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_say_why() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    let post = |body: Vec<u8>| {
        Outgoing::new(Method::POST, format!("{}/ledger/v1/append", served.url)).with_body("application/cbor", body)
    };
    let good = cbor::encode(&request(1, vec![fleet(vec![action("x")])]));
    let mut indefinite = good.clone();
    indefinite[0] = 0x9f;
    let bad_version = cbor::encode(&AppendRequest { version: 2, ..request(2, vec![]) });
    let too_many = cbor::encode(&request(3, vec![fleet(vec![action("x"); 4_097])]));
    let cases = [
        (Vec::new(), "CBOR"),
        (good[..good.len() - 1].to_vec(), "ends at byte"),
        ([good.as_slice(), &[0]].concat(), "CBOR"),
        (indefinite, "indefinite"),
        (cbor::encode(&("a", 1u8)), "AppendRequest"),
        (bad_version, "version 2"),
        (too_many, "4097"),
    ];
    for (body, reason) in cases {
        let answer = send(&client, post(body)).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{text}");
        assert!(text.contains(reason), "{text}");
    }
    assert_eq!(send(&client, post(vec![0; APPEND_BYTES_MAX + 1])).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let paths = [
        ("/ledger/v1/heads/bad%20id", 400),
        ("/ledger/v1/heads/never-seen", 200),
        ("/ledger/v1/agents/~fleet/entries?from_seq=-1", 400),
        ("/ledger/v1/agents/~fleet/entries?limit=01", 400),
        ("/ledger/v1/agents/~fleet/entries?form_seq=1", 400),
        ("/ledger/v1/agents/~fleet/seq-at", 400),
        ("/ledger/v1/agents/~fleet/seq-at?ms=99999999999999", 404),
        ("/ledger/v1/entries/99", 404),
        ("/ledger/v1/entries/x", 400),
        ("/ledger/v1/proof/inclusion?index=2&tree_size=2", 400),
        ("/ledger/v1/proof/inclusion?index=0&tree_size=99", 400),
        ("/ledger/v1/proof/consistency?old=0&new=2", 400),
        ("/ledger/v1/proof/consistency?old=2&new=1", 400),
        ("/ledger/v1/checkpoints/1", 404),
        ("/ledger/v1/blobs/00", 400),
        ("/ledger/v1/receipts/99", 404),
        ("/ledger/v1/receipts/00", 400),
        ("/ledger/v1/consistency-receipts/0", 400),
        ("/ledger/v1/consistency-receipts/99", 400),
        ("/ledger/v1/timestamps/2", 404),
        ("/ledger/v1/timestamps/2/tsa.tsr", 404),
        ("/ledger/v1/nothing", 404),
        ("/tile/0/001", 404),
        ("/tile/0/000", 404),
        ("/tile/0/000.p/1", 404),
        ("/tile/64/000.p/1", 404),
        ("/tile/0/0", 404),
    ];
    for (path, expected) in paths {
        assert_eq!(get(&client, &served.url, path).await.status, expected, "{path}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_what_its_name_says_or_refused() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let client = rig.http(Caller::Service);
    let put = |digest: Digest, body: Vec<u8>| {
        Outgoing::new(Method::PUT, format!("{}/ledger/v1/blobs/{digest}", served.url))
            .with_body("application/octet-stream", body)
    };
    let digest = Digest(openssl::sha::sha256(b"evidence"));
    assert_eq!(send(&client, put(digest, b"other".to_vec())).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&client, &served.url, &format!("/ledger/v1/blobs/{digest}")).await.status, StatusCode::NOT_FOUND);
    for _ in 0..2 {
        assert_eq!(send(&client, put(digest, b"evidence".to_vec())).await.status, StatusCode::NO_CONTENT);
    }
    let upper = digest.to_string().to_uppercase();
    assert_eq!(get(&client, &served.url, &format!("/ledger/v1/blobs/{upper}")).await.status, StatusCode::BAD_REQUEST);
    let long = vec![0; BLOB_BYTES_MAX + 1];
    let long_digest = Digest(openssl::sha::sha256(&long));
    assert_eq!(send(&client, put(long_digest, long)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Damaged on the disk: not served, and a new upload mends it.
    let name = digest.to_string();
    std::fs::write(rig.data().join("blobs").join(&name[..2]).join(&name), b"damaged").unwrap();
    let path = format!("/ledger/v1/blobs/{digest}");
    assert_eq!(get(&client, &served.url, &path).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    send(&client, put(digest, b"evidence".to_vec())).await;
    assert_eq!(body(&client, &served.url, &path).await, b"evidence");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_times_lead_through_a_chain_in_pieces() {
    let rig = Rig::new();
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let nodes: Vec<AgentId> = (0..3).map(|number| agent(&format!("node-{number}"))).collect();
    let mut heads = [Head::default(); 3];
    let mut recorded = Vec::new();
    for round in 0..30 {
        for (slot, node) in nodes.iter().enumerate() {
            let items = if round == 0 {
                vec![enrol(slot as u64, Digest::ZERO)]
            } else {
                vec![quote(client.beacon().await.unwrap()), linked_verdict(VerdictResult::Pass)]
            };
            let receipts = client.append(group(node, heads[slot], items)).await.unwrap();
            let last = receipts.last().unwrap();
            heads[slot] = Head { seq: last.seq + 1, prev: last.leaf_hash };
            if slot == 1 {
                recorded.extend(receipts.iter().map(|receipt| receipt.recorded));
            }
        }
    }
    let http = rig.http(Caller::Auditor);
    let mut entries = Vec::new();
    while (entries.len() as u64) < heads[1].seq {
        let path = format!("/ledger/v1/agents/node-1/entries?from_seq={}&limit=7", entries.len());
        let page: EntryPage = cbor::decode(&body(&http, &served.url, &path).await).unwrap();
        assert_eq!(page.head, heads[1]);
        assert!(page.entries.len() <= 7 && !page.entries.is_empty());
        entries.extend(page.entries);
    }
    assert_eq!(entries.len(), 59);
    for (seq, (index, bytes)) in entries.iter().enumerate() {
        let entry = Entry::decode(bytes).unwrap();
        assert_eq!((entry.seq, entry.agent.as_ref()), (seq as u64, Some(&nodes[1])));
        assert_eq!(body(&http, &served.url, &format!("/ledger/v1/entries/{index}")).await, bytes.as_ref());
    }
    for time in [recorded[0], recorded[20], recorded[58]] {
        let path = format!("/ledger/v1/agents/node-1/seq-at?ms={}", time.0);
        let [seq]: [u64; 1] = cbor::decode(&body(&http, &served.url, &path).await).unwrap();
        assert_eq!(Some(usize::try_from(seq).unwrap()), recorded.iter().position(|found| *found >= time));
    }
    let end: EntryPage =
        cbor::decode(&body(&http, &served.url, "/ledger/v1/agents/node-1/entries?from_seq=59").await).unwrap();
    assert!(end.entries.is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_verify_and_all_served_checkpoints_are_consistent() {
    let mut rig = Rig::new();
    rig.interval = std::time::Duration::from_millis(5);
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    let http = rig.http(Caller::Auditor);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut round = 0;
    while cbor::decode::<Vec<u64>>(&body(&http, &served.url, "/ledger/v1/checkpoints").await).unwrap().len() < 8 {
        assert!(std::time::Instant::now() < deadline, "checkpoints come");
        client.append(fleet(vec![action(&round.to_string()); round % 9 + 1])).await.unwrap();
        round += 1;
    }
    let info = loop {
        let info: Info = serde_json::from_slice(&body(&http, &served.url, "/ledger/v1/info").await).unwrap();
        if info.checkpoint_size == info.durable_size {
            break info;
        }
        assert!(std::time::Instant::now() < deadline, "the last checkpoint comes");
    };
    let key = rig.key();
    assert_eq!(key.to_string(), info.vkey);
    let sizes: Vec<u64> = cbor::decode(&body(&http, &served.url, "/ledger/v1/checkpoints").await).unwrap();
    assert!(sizes.len() >= 8 && sizes.last() == Some(&info.durable_size));
    let mut heads = Vec::new();
    for size in &sizes {
        let note = body(&http, &served.url, &format!("/ledger/v1/checkpoints/{size}")).await;
        let opened = Checkpoint::open(&note, "ledger.test/log", &key, &[]).unwrap();
        assert_eq!(opened.tree_head().tree_size, *size);
        heads.push(*opened.tree_head());
    }
    let last = heads.last().unwrap();
    for (position, old) in heads.iter().enumerate() {
        for new in &heads[position..] {
            let path = format!("/ledger/v1/proof/consistency?old={}&new={}", old.tree_size, new.tree_size);
            let proof: Proof = cbor::decode(&body(&http, &served.url, &path).await).unwrap();
            let hashes = proof.hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect();
            verify_consistency(old, new, &ConsistencyProof::new(hashes)).unwrap();
        }
    }
    for index in (0..info.durable_size).step_by(17) {
        let entry = body(&http, &served.url, &format!("/ledger/v1/entries/{index}")).await;
        let path = format!("/ledger/v1/proof/inclusion?index={index}&tree_size={}", last.tree_size);
        let proof: Proof = cbor::decode(&body(&http, &served.url, &path).await).unwrap();
        let hashes = proof.hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect();
        verify_inclusion(&leaf_hash(&entry), index, last, &InclusionProof::new(hashes)).unwrap();
    }
    // No entries, no checkpoints.
    let quiet: Vec<u64> = cbor::decode(&body(&http, &served.url, "/ledger/v1/checkpoints").await).unwrap();
    assert_eq!(quiet, sizes);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_begins_with_its_own_description_and_records_each_start() {
    let rig = Rig::new();
    rig.serve().await.stop().await;
    let served = rig.serve().await;
    let page = rig.ledger_client(&served.url).entries(None, 0, 10).await.unwrap();
    let kinds: Vec<Kind> = page.entries.iter().map(|(_, bytes)| Entry::decode(bytes).unwrap().kind).collect();
    assert_eq!(kinds, [Kind::Genesis, Kind::ServiceStart, Kind::ServiceStart]);
    let answer = get(&rig.http(Caller::Auditor), &served.url, "/checkpoint").await;
    assert_eq!(header(&answer.headers, "content-type"), "text/plain; charset=utf-8");
    assert!(Checkpoint::open(&answer.body, "ledger.test/log", &rig.key(), &[]).is_ok());
    served.stop().await;
}
