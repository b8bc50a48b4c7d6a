#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use crate::Entry;
use serde_bytes::ByteBuf;

use super::*;
use crate::body::{AgentPolicy, ImaDelta, ImaState, NamedPolicy, QuoteBody, Verdict};

/// A log in the making: each call appends one entry where its chain ends.
struct Log(LogState);

const NOTE: Digest = Digest([9; 32]);

fn signed(size: u64) -> Option<Digest> {
    (1..=100).contains(&size).then_some(NOTE)
}

impl Log {
    fn new() -> Self {
        let mut log = Self(LogState::default());
        log.fleet(&Genesis { format: 1, origin: "o".into(), vkey: "v".into(), created: UnixMillis(0) }).unwrap();
        log
    }

    fn enrolled() -> Self {
        let mut log = Self::new();
        log.agent(&enrol(0)).unwrap();
        log
    }

    fn fleet<B: Body>(&mut self, body: &B) -> Result<Digest, RuleBroken> {
        self.append(None, B::KIND, body.encode())
    }

    fn agent<B: Body>(&mut self, body: &B) -> Result<Digest, RuleBroken> {
        self.append(Some(agent()), B::KIND, body.encode())
    }

    fn append(&mut self, agent: Option<AgentId>, kind: Kind, body: Vec<u8>) -> Result<Digest, RuleBroken> {
        let Head { seq, prev } = self.0.head(agent.as_ref());
        let entry = Entry { kind, agent, seq, prev, recorded: self.0.totals().recorded, body };
        let leaf_hash = Entry::leaf_hash(&entry.encode().unwrap());
        let before = self.0.clone();
        let applied = self.0.apply(&entry, leaf_hash, signed);
        assert!(applied.is_ok() || self.0 == before, "a refused entry changes nothing");
        applied.map(|()| leaf_hash)
    }
}

fn agent() -> AgentId {
    "node-1".parse().unwrap()
}

fn enrol(slot: u64) -> Enrol {
    Enrol { slot, binding: Digest([1; 32]), ek_certificate: 0, registrar: "r".into() }
}

fn quote(tree_size: u64) -> QuoteBody {
    QuoteBody {
        beacon: Beacon { tree_size, note_digest: NOTE },
        salt: Digest([2; 32]),
        attest: ByteBuf::from([3]),
        signature: ByteBuf::from([4]),
        pcrs: vec![],
        ima: ImaDelta::default(),
        boot_log: None,
    }
}

fn verdict(quote: Digest, result: VerdictResult) -> Verdict {
    Verdict {
        quote,
        result,
        findings: vec![],
        policies: vec![],
        binding: Digest([1; 32]),
        appraiser: "t".into(),
        ima_state: ImaState::default(),
    }
}

fn release(phase: ReleasePhase, verdict: Digest) -> KeyRelease {
    KeyRelease { phase, verdict, key_id: Digest([5; 32]), recipient: Digest::ZERO, reason: String::new() }
}

fn retire() -> Retire {
    Retire { actor: "a".into(), reason: "r".into() }
}

fn round(log: &mut Log, result: VerdictResult) -> Digest {
    let quote = log.agent(&quote(1)).unwrap();
    log.agent(&verdict(quote, result)).unwrap()
}

#[test]
fn the_log_begins_with_genesis_and_has_only_one() {
    let mut log = Log(LogState::default());
    let start = ServiceStart { service: "l".into(), build: "b".into(), instance: "i".into() };
    assert!(matches!(log.fleet(&start), Err(RuleBroken::Genesis { index: 0, .. })));
    let mut log = Log::new();
    log.fleet(&start).unwrap();
    let again = Genesis { format: 1, origin: "o".into(), vkey: "v".into(), created: UnixMillis(0) };
    assert!(matches!(log.fleet(&again), Err(RuleBroken::Genesis { index: 2, .. })));
}

#[test]
fn a_chain_begins_with_enrol_into_the_next_slot() {
    let mut log = Log::new();
    assert!(matches!(log.agent(&quote(1)), Err(RuleBroken::NotEnrolled { kind: Kind::Quote })));
    assert!(matches!(log.agent(&enrol(1)), Err(RuleBroken::Slot { expected: 0, found: 1 })));
    log.agent(&enrol(0)).unwrap();
    assert_eq!(log.0.totals().next_slot, 1);
    assert!(matches!(log.agent(&enrol(0)), Err(RuleBroken::AlreadyEnrolled)));
}

#[test]
fn after_retire_only_enrol_into_the_own_slot_follows() {
    let mut log = Log::enrolled();
    let passed = round(&mut log, VerdictResult::Pass);
    log.agent(&retire()).unwrap();
    assert!(matches!(log.agent(&quote(1)), Err(RuleBroken::NotEnrolled { .. })));
    assert!(matches!(log.agent(&retire()), Err(RuleBroken::NotEnrolled { .. })));
    assert!(matches!(log.agent(&enrol(1)), Err(RuleBroken::Slot { expected: 0, found: 1 })));
    log.agent(&enrol(0)).unwrap();
    assert_eq!(log.0.totals().next_slot, 1);
    // The verdict of the life before authorises nothing in this one.
    let stale = log.agent(&release(ReleasePhase::Authorised, passed));
    assert!(matches!(stale, Err(RuleBroken::Verdict { latest: None, .. })));
}

#[test]
fn a_verdict_names_the_latest_quote() {
    let mut log = Log::enrolled();
    assert!(matches!(
        log.agent(&verdict(Digest::ZERO, VerdictResult::Pass)),
        Err(RuleBroken::Quote { latest: None, .. })
    ));
    let first = log.agent(&quote(1)).unwrap();
    let second = log.agent(&quote(1)).unwrap();
    assert!(matches!(log.agent(&verdict(first, VerdictResult::Pass)), Err(RuleBroken::Quote { .. })));
    log.agent(&verdict(second, VerdictResult::Pass)).unwrap();
}

#[test]
fn a_quote_rests_on_a_signed_checkpoint_no_older_than_the_last_ones() {
    let mut log = Log::enrolled();
    log.agent(&quote(7)).unwrap();
    log.agent(&quote(7)).unwrap();
    assert!(matches!(log.agent(&quote(6)), Err(RuleBroken::BeaconBack { last: 7, found: 6 })));
    assert!(matches!(log.agent(&quote(101)), Err(RuleBroken::BeaconUnknown { tree_size: 101, .. })));
    let mut forged = quote(8);
    forged.beacon.note_digest = Digest([8; 32]);
    assert!(matches!(log.agent(&forged), Err(RuleBroken::BeaconUnknown { .. })));
    // Not even through a new life.
    log.agent(&retire()).unwrap();
    log.agent(&enrol(0)).unwrap();
    assert!(matches!(log.agent(&quote(6)), Err(RuleBroken::BeaconBack { .. })));
}

#[test]
fn a_key_is_authorised_by_the_latest_verdict_if_it_is_a_pass() {
    for result in [VerdictResult::Fail, VerdictResult::Error] {
        let mut log = Log::enrolled();
        let failed = round(&mut log, result);
        assert!(matches!(log.agent(&release(ReleasePhase::Authorised, failed)), Err(RuleBroken::NotPassed)));
        log.agent(&release(ReleasePhase::Withheld, failed)).unwrap();
    }
    let mut log = Log::enrolled();
    let old = round(&mut log, VerdictResult::Pass);
    let passed = round(&mut log, VerdictResult::Pass);
    assert!(matches!(log.agent(&release(ReleasePhase::Authorised, old)), Err(RuleBroken::Verdict { .. })));
    log.agent(&release(ReleasePhase::Authorised, passed)).unwrap();
}

#[test]
fn a_key_is_delivered_only_after_it_was_authorised() {
    let mut log = Log::enrolled();
    let passed = round(&mut log, VerdictResult::Pass);
    assert!(matches!(log.agent(&release(ReleasePhase::Delivered, passed)), Err(RuleBroken::NotAuthorised { .. })));
    log.agent(&release(ReleasePhase::Authorised, passed)).unwrap();
    let mut other = release(ReleasePhase::Delivered, passed);
    other.key_id = Digest([6; 32]);
    assert!(matches!(log.agent(&other), Err(RuleBroken::NotAuthorised { .. })));
    log.agent(&release(ReleasePhase::Delivered, passed)).unwrap();
}

#[test]
fn a_delivery_may_become_known_after_the_next_verdict() {
    let mut log = Log::enrolled();
    let passed = round(&mut log, VerdictResult::Pass);
    log.agent(&release(ReleasePhase::Authorised, passed)).unwrap();
    let failed = round(&mut log, VerdictResult::Fail);
    log.agent(&release(ReleasePhase::Delivered, passed)).unwrap();
    assert!(matches!(log.agent(&release(ReleasePhase::Revoked, passed)), Err(RuleBroken::Verdict { .. })));
    log.agent(&release(ReleasePhase::Revoked, failed)).unwrap();
}

#[test]
fn the_oldest_of_too_many_keys_is_forgotten() {
    let mut log = Log::enrolled();
    let passed = round(&mut log, VerdictResult::Pass);
    let key = |number: usize| KeyRelease {
        key_id: Digest([u8::try_from(number).unwrap(); 32]),
        ..release(ReleasePhase::Authorised, passed)
    };
    for number in 0..=AUTHORISED_KEYS_MAX {
        log.agent(&key(number)).unwrap();
    }
    let delivered = |number| KeyRelease { phase: ReleasePhase::Delivered, ..key(number) };
    assert!(matches!(log.agent(&delivered(0)), Err(RuleBroken::NotAuthorised { .. })));
    log.agent(&delivered(1)).unwrap();
}

#[test]
fn kinds_stay_on_their_chains() {
    let mut log = Log::enrolled();
    let start = ServiceStart { service: "l".into(), build: "b".into(), instance: "i".into() };
    assert!(matches!(log.agent(&start), Err(RuleBroken::Chain { .. })));
    assert!(matches!(log.fleet(&quote(1)), Err(RuleBroken::Chain { .. })));
    assert!(matches!(log.fleet(&enrol(1)), Err(RuleBroken::Chain { .. })));
    let named =
        PolicyBody::Named(NamedPolicy { role: "tpm".into(), name: "n".into(), content: None, actor: "a".into() });
    assert!(matches!(log.agent(&named), Err(RuleBroken::Chain { .. })));
    log.fleet(&named).unwrap();
    let own = PolicyBody::Agent(AgentPolicy {
        interval_ms: 1,
        tolerance_ms: 1,
        hash_algs: vec![],
        enc_algs: vec![],
        sign_algs: vec![],
        labels: vec![],
        policies: vec![],
        binding: Digest::ZERO,
    });
    assert!(matches!(log.fleet(&own), Err(RuleBroken::Chain { .. })));
    log.agent(&own).unwrap();
    log.append(Some(agent()), Kind::Unknown(77), vec![0xf6]).unwrap();
    log.append(None, Kind::Unknown(77), vec![0xf6]).unwrap();
}

#[test]
fn a_checkpoint_entry_names_a_signed_checkpoint() {
    let mut log = Log::new();
    log.fleet(&CheckpointBody { tree_size: 1, note: NOTE }).unwrap();
    let forged = CheckpointBody { tree_size: 2, note: Digest::ZERO };
    assert!(matches!(log.fleet(&forged), Err(RuleBroken::BeaconUnknown { .. })));
}

#[test]
fn a_checkpoint_entry_covers_more_than_the_last_and_not_itself() {
    let mut log = Log::new();
    log.fleet(&CheckpointBody { tree_size: 1, note: NOTE }).unwrap();
    let again = log.fleet(&CheckpointBody { tree_size: 1, note: NOTE });
    assert!(matches!(again, Err(RuleBroken::CheckpointSize { last: 1, found: 1, index: 2 })));
    let itself = log.fleet(&CheckpointBody { tree_size: 3, note: NOTE });
    assert!(matches!(itself, Err(RuleBroken::CheckpointSize { last: 1, found: 3, index: 2 })));
    log.fleet(&CheckpointBody { tree_size: 2, note: NOTE }).unwrap();
}

fn census(prefix_size: u64, epoch: u64) -> CensusBody {
    CensusBody { prefix_size, sums: ByteBuf::from([0; CENSUS_SUMS_BYTES]), root: Digest([6; 32]), epoch }
}

#[test]
fn a_census_is_that_of_the_last_checkpoint_entry_and_comes_once() {
    let mut log = Log::new();
    assert!(matches!(log.fleet(&census(0, 0)), Err(RuleBroken::Census { .. })), "there is no checkpoint yet");
    log.fleet(&CheckpointBody { tree_size: 1, note: NOTE }).unwrap();
    assert!(matches!(log.fleet(&census(2, 0)), Err(RuleBroken::Census { expected: 1, found: 2, .. })));
    assert!(matches!(log.fleet(&census(1, 1)), Err(RuleBroken::Census { expected_epoch: 0, epoch: 1, .. })));
    let short = CensusBody { sums: ByteBuf::from([0; 67]), ..census(1, 0) };
    assert!(matches!(log.fleet(&short), Err(RuleBroken::CensusSums { found: 67 })));
    log.fleet(&census(1, 0)).unwrap();
    assert!(matches!(log.fleet(&census(1, 1)), Err(RuleBroken::Census { .. })), "a second one");
    log.fleet(&CheckpointBody { tree_size: 3, note: NOTE }).unwrap();
    log.fleet(&census(3, 1)).unwrap();
    assert!(matches!(Log::enrolled().agent(&census(1, 0)), Err(RuleBroken::Chain { .. })));
}

#[test]
fn a_maintenance_is_on_an_agents_chain_and_ends_after_it_begins() {
    let mut log = Log::enrolled();
    let window =
        |from, to| Maintenance { from: UnixMillis(from), to: UnixMillis(to), reason: String::new(), actor: "a".into() };
    log.agent(&window(5, 6)).unwrap();
    assert!(matches!(log.agent(&window(6, 6)), Err(RuleBroken::MaintenanceWindow { .. })));
    assert!(matches!(log.fleet(&window(5, 6)), Err(RuleBroken::Chain { .. })));
}

#[test]
fn a_quote_gets_one_verdict() {
    let mut log = Log::enrolled();
    let quote = log.agent(&quote(1)).unwrap();
    log.agent(&verdict(quote, VerdictResult::Fail)).unwrap();
    let second = log.agent(&verdict(quote, VerdictResult::Pass));
    assert!(matches!(second, Err(RuleBroken::Quote { latest: None, found }) if found == quote));
}

#[test]
fn a_verdict_is_under_the_policys_binding() {
    let mut log = Log::enrolled();
    let policy = |byte| {
        PolicyBody::Agent(AgentPolicy {
            interval_ms: 1,
            tolerance_ms: 1,
            hash_algs: vec![],
            enc_algs: vec![],
            sign_algs: vec![],
            labels: vec![],
            policies: vec![],
            binding: Digest([byte; 32]),
        })
    };
    log.agent(&policy(2)).unwrap();
    let asked = log.agent(&quote(1)).unwrap();
    let other = log.agent(&verdict(asked, VerdictResult::Pass));
    assert!(matches!(other, Err(RuleBroken::Binding { expected, .. }) if expected == Digest([2; 32])));
    log.agent(&policy(1)).unwrap();
    log.agent(&verdict(asked, VerdictResult::Pass)).unwrap();
}

#[test]
fn a_timestamp_entry_is_on_the_fleets_chain_and_names_a_signed_checkpoint() {
    let mut log = Log::enrolled();
    let body = TimestampBody { tree_size: 1, note: NOTE, token: NOTE, tsa: "t".into(), gen_time: UnixMillis(1) };
    log.fleet(&body).unwrap();
    assert!(matches!(log.agent(&body), Err(RuleBroken::Chain { .. })));
    let forged = TimestampBody { note: Digest::ZERO, ..body };
    assert!(matches!(log.fleet(&forged), Err(RuleBroken::BeaconUnknown { .. })));
    assert!(matches!(log.append(None, Kind::Timestamp, vec![0xf6]), Err(RuleBroken::Body { .. })));
}

#[test]
fn a_body_of_another_kind_is_refused() {
    let mut log = Log::enrolled();
    let body = quote(1).encode();
    assert!(matches!(log.append(Some(agent()), Kind::Verdict, body), Err(RuleBroken::Body { .. })));
}

#[test]
fn head_and_clock_continue_the_log() {
    let log = Log::enrolled();
    let Head { seq, prev } = log.0.head(Some(&agent()));
    let body = retire().encode();
    let entry = |seq, prev, recorded| Entry {
        kind: Kind::Retire,
        agent: Some(agent()),
        seq,
        prev,
        recorded: UnixMillis(recorded),
        body: body.clone(),
    };
    let apply = |entry: &Entry| {
        let mut state = log.0.clone();
        state.totals.recorded = UnixMillis(5);
        state.apply(entry, Digest::ZERO, signed)
    };
    assert!(matches!(apply(&entry(seq + 1, prev, 5)), Err(RuleBroken::Head { .. })));
    assert!(matches!(apply(&entry(seq, Digest::ZERO, 5)), Err(RuleBroken::Head { .. })));
    assert!(matches!(apply(&entry(seq, prev, 4)), Err(RuleBroken::Recorded { .. })));
    assert!(apply(&entry(seq, prev, 5)).is_ok());
}

#[test]
fn a_state_comes_back_from_its_parts() {
    let mut log = Log::enrolled();
    let passed = round(&mut log, VerdictResult::Pass);
    log.agent(&release(ReleasePhase::Authorised, passed)).unwrap();
    let chain = log.0.agent(&agent()).unwrap();
    let saved = messages::cbor::encode(chain);
    let totals = messages::cbor::encode(log.0.totals());
    let restored = LogState::restore(
        messages::cbor::decode(&totals).unwrap(),
        [(agent(), messages::cbor::decode(&saved).unwrap())],
    );
    assert_eq!(restored, log.0);
}
