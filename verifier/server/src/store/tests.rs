#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use verifier_protocol::session::{KeyState, Trust};

use super::*;
use crate::terms::Bound;

fn stored(id: &str) -> StoredAgent {
    let terms = Terms {
        accept_encryption: vec![],
        accept_hash: vec![],
        accept_signing: vec![],
        ak_tpm: String::new(),
        api_version: "2.6".into(),
        host: "127.0.0.1".into(),
        interval_ms: 1,
        labels: Default::default(),
        metadata: "{}".into(),
        mtls_cert: None,
        port: 1,
        tolerance_ms: 1,
        tpm_policy: "{}".into(),
        verifier_ip: None,
        verifier_port: None,
        bound: Bound { binding: Some(Digest([1; 32])), key_id: None },
        measured_boot: None,
        runtime: None,
    };
    let head = Head { seq: 3, prev: Digest([2; 32]) };
    StoredAgent {
        id: id.parse().unwrap(),
        terms: TermsRow { terms, share_v: None, revocation_key: None },
        record: RecordRow::new(UnixMillis(5), true, head, Digest([1; 32])),
    }
}

#[tokio::test]
async fn agents_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.put_agent(&stored("a")).await.unwrap();
    let mut row = stored("a").record;
    row.record.trust = Trust::Failed { at: UnixMillis(9), event: "x.y".into(), raised: true, verdict: Digest([3; 32]) };
    row.record.key = KeyState::Released { recipient: Digest([4; 32]) };
    store.put_record(&row_id("a"), &row).unwrap();
    store.flush().await.unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let agents = store.agents().unwrap();
    let [agent] = agents.as_slice() else { panic!("{agents:?}") };
    assert_eq!(agent.record.record, row.record);
    assert_eq!(agent.record.next_seq, 3);
}

fn row_id(id: &str) -> AgentId {
    id.parse().unwrap()
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_set_aside_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for id in ["a", "b", "c"] {
        store.put_agent(&stored(id)).await.unwrap();
    }
    store.terms.insert("b", b"{}".as_slice()).unwrap();
    store.records.insert("c", b"garbage".as_slice()).unwrap();
    let ids = |store: &Store| store.agents().unwrap().into_iter().map(|agent| agent.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&store), ["a"]);
    assert_eq!(store.quarantine.get("terms/b").unwrap().unwrap(), b"{}".as_slice());
    assert_eq!(store.quarantine.get("records/c").unwrap().unwrap(), b"garbage".as_slice());
    assert!(store.quarantine.contains_key("terms/c").unwrap());
    assert_eq!(ids(&store), ["a"], "and again");
}

#[tokio::test]
async fn a_removed_agent_leaves_only_where_its_chain_stood() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.put_agent(&stored("a")).await.unwrap();
    store
        .remove_agent(&row_id("a"), DepartedRow { next_seq: 8, enrolled: None, windows: Default::default() })
        .await
        .unwrap();
    assert!(store.agents().unwrap().is_empty());
    assert!(store.agent(&row_id("a")).unwrap().is_none());
    assert_eq!(store.departed(&row_id("a")).unwrap().unwrap().next_seq, 8);
    assert!(store.departed(&row_id("b")).unwrap().is_none());
}

#[test]
fn records_of_another_schema_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let db = sled::open(folder.path()).unwrap();
    db.open_tree("meta").unwrap().insert("schema", "attestry-verifier-9").unwrap();
    drop(db);
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Schema { .. })));
}

#[test]
fn records_in_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Open { .. })));
    drop(first);
    assert!(Store::open(folder.path()).is_ok());
}
