#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use registrar_protocol::{Slot, TlsCertificate};
use serde_bytes::ByteBuf;

use super::*;

fn record(id: &str) -> AgentRecord {
    let binding = Binding {
        version: 1,
        agent: id.parse().unwrap(),
        ek: ByteBuf::from([1; 60]),
        ak: ByteBuf::from([2; 60]),
        ek_certificate: Some(ByteBuf::from([3; 400])),
        chain: vec![ByteBuf::from([4; 400])],
    };
    let contact =
        Contact { host: Some("::1".to_owned()), port: Some(9002), certificate: Some(TlsCertificate::Disabled) };
    AgentRecord { binding, contact }
}

#[test]
fn records_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let id: AgentId = "node-1".parse().unwrap();
    let mark = ChainMark { next_seq: 7, standing: ChainStanding::Retired { slot: Slot(3) } };
    {
        let store = Store::open(folder.path()).unwrap();
        store.put_chain(&id, &mark).unwrap();
        store.put_agent(&record("node-1")).unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.agent(&id).unwrap(), Some(record("node-1")));
    assert_eq!(store.chain(&id).unwrap(), mark);
    assert_eq!(store.agents().unwrap(), std::slice::from_ref(&id));
    assert!(store.remove_agent(&id).unwrap());
    assert!(!store.remove_agent(&id).unwrap());
    assert_eq!(store.agent(&id).unwrap(), None);
}

#[test]
fn a_bad_row_is_set_aside_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for id in ["a", "b", "c", "d", "e"] {
        store.put_agent(&record(id)).unwrap();
    }
    let of_d = store.agents.get("d").unwrap().unwrap();
    let newer = String::from_utf8(of_d.to_vec()).unwrap().replace("\"version\":1", "\"version\":2");
    store.agents.insert("a", "not JSON").unwrap();
    store.agents.insert("b", newer.as_str()).unwrap();
    store.agents.insert("c", &of_d).unwrap();
    store.agents.insert([0xff, 0x0a], b"{}").unwrap();

    let left: Vec<String> = store.agents().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(left, ["d", "e"]);
    assert_eq!(store.quarantine.get("b").unwrap().unwrap(), newer.as_bytes());
    assert_eq!(store.quarantine.len(), 4);
    assert_eq!(store.agent(&"a".parse().unwrap()).unwrap(), None);
}

#[test]
fn a_bad_row_counts_as_none_when_asked_for_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.agents.insert("a", "not JSON").unwrap();
    assert_eq!(store.agent(&"a".parse().unwrap()).unwrap(), None);
    assert_eq!(store.quarantine.len(), 1);
}

#[test]
fn another_schema_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Store::open(folder.path()).unwrap();
        store.database.open_tree("meta").unwrap().insert(SCHEMA_KEY, "99").unwrap();
        store.flush().unwrap();
    }
    let refused = Store::open(folder.path()).unwrap_err();
    assert!(refused.to_string().contains("\"99\""), "{refused}");
}

#[test]
fn two_processes_do_not_share_a_book() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Store::open(folder.path()).unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Open { .. })));
}
