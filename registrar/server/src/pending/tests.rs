#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::ek_certificate::TrustStore;
use fixtures_softtpm::{KeyKind, SoftTpm};
use messages::keylime::Register;
use registrar_protocol::{Claim, EkCertificatePolicy, auth_tag};

use super::*;

const LIMITS: PendingLimits = PendingLimits { bytes_max: 40, network_bytes_max: 20, lifetime: Duration::from_secs(10) };
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

fn id(text: &str) -> AgentId {
    text.parse().unwrap()
}

fn registration() -> Registration {
    let tpm = SoftTpm::new(KeyKind::P256, 0);
    let claim = Claim::parse(&Register {
        ek_tpm: Some(STANDARD.encode(tpm.ek.tpm2b_public())),
        aik_tpm: STANDARD.encode(tpm.ak.tpm2b_public()),
        ..Register::default()
    });
    let claim = claim.unwrap();
    let identity = claim.verify(&TrustStore::new(), EkCertificatePolicy::DangerNotRequired, 0).unwrap();
    Registration { contact: claim.contact, identity }
}

fn insert(table: &PendingTable, name: &str, weight: usize, from: IpAddr, now: Instant) -> Result<(), TableFull> {
    let tag = auth_tag(name.as_bytes(), &id(name)).unwrap();
    table.insert(id(name), tag, registration(), weight, from, now)
}

#[test]
fn what_is_taken_is_gone_and_can_be_put_back() {
    let (table, now) = (PendingTable::new(LIMITS), Instant::now());
    insert(&table, "a", 1, HERE, now).unwrap();
    let pending = table.take(&id("a"), now).unwrap();
    assert!(pending.registration.is_some());
    assert!(table.take(&id("a"), now).is_none());
    table.put_back(id("a"), pending.activated());
    assert!(table.take(&id("a"), now).unwrap().registration.is_none());
    assert!(table.take(&id("b"), now).is_none());
}

#[test]
fn a_newer_registration_replaces_the_older_and_is_not_replaced_by_it() {
    let (table, now) = (PendingTable::new(LIMITS), Instant::now());
    insert(&table, "a", 1, HERE, now).unwrap();
    let older = table.take(&id("a"), now).unwrap();
    insert(&table, "a", 1, HERE, now).unwrap();
    table.put_back(id("a"), older.activated());
    assert!(table.take(&id("a"), now).unwrap().registration.is_some());
}

#[test]
fn a_registration_expires() {
    let (table, now) = (PendingTable::new(LIMITS), Instant::now());
    insert(&table, "a", 1, HERE, now).unwrap();
    insert(&table, "b", 1, HERE, now).unwrap();
    assert!(table.take(&id("a"), now + LIMITS.lifetime - Duration::from_millis(1)).is_some());
    assert!(table.take(&id("b"), now + LIMITS.lifetime).is_none());
}

#[test]
fn the_table_and_each_networks_share_are_bounded() {
    let (table, now) = (PendingTable::new(LIMITS), Instant::now());
    insert(&table, "a", 20, HERE, now).unwrap();
    assert_eq!(insert(&table, "b", 1, HERE, now), Err(TableFull::Network));
    insert(&table, "c", 20, THERE, now).unwrap();
    assert_eq!(insert(&table, "d", 1, ELSEWHERE, now), Err(TableFull::All));
    // A place that is given up or expires is free again.
    table.forget(&id("a"));
    insert(&table, "e", 20, HERE, now).unwrap();
    insert(&table, "f", 20, ELSEWHERE, now + LIMITS.lifetime).unwrap();
    let rows = table.rows();
    assert_eq!((rows.by_id.len(), rows.bytes, rows.bytes_by_network.len()), (1, 20, 1));
}

#[test]
fn a_registration_that_is_refused_for_room_leaves_the_one_before_in_place() {
    let (table, now) = (PendingTable::new(LIMITS), Instant::now());
    insert(&table, "a", 1, HERE, now).unwrap();
    insert(&table, "b", 20, THERE, now).unwrap();
    assert_eq!(insert(&table, "a", 1, THERE, now), Err(TableFull::Network));
    assert!(table.take(&id("a"), now).unwrap().registration.is_some());
}
