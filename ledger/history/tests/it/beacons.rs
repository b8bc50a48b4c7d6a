//! Time-stamps under the beacons of quotes: what they prove, and what is refused.

use fixtures_histories::alterations::Alteration;
use fixtures_histories::{BEGIN, ORIGIN, SyntheticLog};
use fixtures_tsa::{Dated, Stated};
use ledger_history::interval::{
    BeaconStamps, IntervalProof, IntervalRefused, IntervalStatement, NotBefore, Strength, Trust, Witnesses, prove,
    verify,
};
use ledger_protocol::body::{Body, TimestampBody, VerdictResult};
use ledger_protocol::{Entry, Kind};
use ledger_timestamp::Authorities;
use messages::{AgentId, UnixMillis};
use serde_bytes::ByteBuf;

/// Seconds after which the log below is stamped.
pub(crate) const STAMPED: [u64; 2] = [150, 400];
const ACCURACY_MS: u64 = 1_500;

/// A day with two stamps of one authority; the proof is of what lies between 200 and 500 s.
pub(crate) fn stamped(authority: &Dated) -> (SyntheticLog, AgentId) {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    for (seconds, at) in [(150, STAMPED[0]), (250, STAMPED[1]), (300, 0)] {
        log.run(&[&agent], seconds, VerdictResult::Pass);
        if at > 0 {
            stamp(&mut log, authority, 0);
        }
    }
    (log, agent)
}

/// Has the newest checkpoint stamped by an authority whose clock is so many seconds ahead.
pub(crate) fn stamp(log: &mut SyntheticLog, authority: &Dated, ahead: u64) {
    let gen_time_ms = (log.now() + ahead) * 1_000;
    let stated = Stated { gen_time_ms, accuracy_ms: Some(ACCURACY_MS) };
    log.timestamp("tsa", gen_time_ms, |note| authority.stamp(note, stated));
}

pub(crate) fn of(log: &SyntheticLog, agent: &AgentId, from: u64, to: u64) -> IntervalProof {
    prove(log, &log.request(agent, BEGIN + from, BEGIN + to)).unwrap()
}

fn roots(authority: &Dated) -> Authorities {
    let mut roots = Authorities::new();
    roots.trust_pem(&authority.root_pem()).unwrap();
    roots
}

fn judge(
    log: &SyntheticLog,
    agent: &AgentId,
    proof: &IntervalProof,
    authorities: Option<&Dated>,
) -> Result<IntervalStatement, IntervalRefused> {
    let (roots, witnesses) = (authorities.map(roots), Witnesses::parse(&log.keys().policy_file()).unwrap());
    let (log, witnesses, authorities) = (log.log_key(), Some(&witnesses), roots.as_ref());
    verify(&proof.encode(), agent, &Trust { origin: ORIGIN, log, witnesses, authorities })
}

fn stamps(proof: &mut IntervalProof) -> &mut BeaconStamps {
    proof.beacon_stamps.as_mut().unwrap()
}

/// When a stamp was made at the earliest, by what the authority says.
fn earliest(stamped: u64) -> u64 {
    // The log's first quote comes some seconds after its begin, the stamp right after a checkpoint.
    let gen_time_ms = (BEGIN + stamped) * 1_000;
    (gen_time_ms - ACCURACY_MS) / 1_000
}

#[test]
fn a_token_under_a_beacon_bounds_the_quote_from_below() {
    let authority = Dated::new(1);
    let (log, agent) = stamped(&authority);
    let proof = of(&log, &agent, 200, 500);
    assert_eq!(proof.version, 2);
    let statement = judge(&log, &agent, &proof, Some(&authority)).unwrap();
    let first = statement.first.unwrap();
    let of_first: Vec<&NotBefore> = statement.not_before.iter().filter(|bound| bound.quote == first).collect();
    let [bound] = of_first.as_slice() else { panic!("{statement:?}") };
    assert_eq!((bound.time.seconds, bound.time.strength), (earliest(STAMPED[0]), Strength::Stamped));
    assert_eq!((bound.accuracy_ms, bound.is_contradicted()), (Some(ACCURACY_MS), false));
    // The last one inside has a younger token than the first.
    let last = statement.not_before.iter().rfind(|bound| Some(bound.quote) == statement.last).unwrap();
    assert_eq!(last.time.seconds, earliest(STAMPED[1]));
    for bound in &statement.not_before {
        // All clocks here are right: a witnessed time and a stamped one are of the same second or two.
        assert!(bound.time.seconds <= bound.quote && bound.beacon_by.unwrap().strength == Strength::Witnessed);
    }
    // Nothing else became stamped by it.
    assert_eq!((statement.times, statement.committed_by.len()), (Strength::Witnessed, 2));
}

#[test]
fn a_quote_whose_beacon_is_older_than_the_token_is_not_bounded() {
    let authority = Dated::new(1);
    let (log, agent) = stamped(&authority);
    // As far as the last beacon before the stamp.
    let proof = of(&log, &agent, 40, 120);
    assert_eq!((proof.version, &proof.beacon_stamps), (1, &None));
    assert_eq!(judge(&log, &agent, &proof, Some(&authority)).unwrap().not_before, []);
    // The entry of a stamp under the beacon of a quote that was asked for before it.
    let mut proof = of(&log, &agent, 100, 300);
    let before = proof.evidence.iter().map(|evidence| evidence.number).min().unwrap();
    assert!(stamps(&mut proof).beacons.iter().all(|beacon| beacon.number != before));
    stamps(&mut proof).beacons[0].number = before;
    assert_eq!(judge(&log, &agent, &proof, None).unwrap_err().name(), "beacon-inclusion");
}

#[test]
fn a_proof_without_such_tokens_is_what_it_was() {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 300, VerdictResult::Pass);
    let bytes = of(&log, &agent, 100, 200).encode();
    assert_eq!(bytes[..2], [0x90, 0x01], "16 items, version 1");
    let authority = Dated::new(1);
    let (log, agent) = stamped(&authority);
    assert_eq!(of(&log, &agent, 200, 500).encode()[..2], [0x91, 0x02], "17 items, version 2");
}

#[test]
fn without_authorities_a_token_is_held_against_the_log_and_states_nothing() {
    let authority = Dated::new(1);
    let (log, agent) = stamped(&authority);
    let mut proof = of(&log, &agent, 200, 500);
    assert_eq!(judge(&log, &agent, &proof, None).unwrap().not_before, []);
    stamps(&mut proof).tokens[0].token[100] ^= 1;
    assert_eq!(judge(&log, &agent, &proof, None).unwrap_err().name(), "beacon-token");
}

#[test]
fn an_accuracy_that_is_not_stated_counts_as_none_and_is_told() {
    let authority = Dated::new(1);
    // genTime in ms after the log's first 150 s, accuracy, expected second relative to the same.
    for (more_ms, accuracy_ms, expected) in
        [(0, None, 0), (999, None, 0), (0, Some(1), -1), (1_500, Some(501), 0), (1_500, Some(500), 1), (0, Some(0), 0)]
    {
        let (mut log, agent) = SyntheticLog::with_machine(3, 2);
        log.run(&[&agent], 150, VerdictResult::Pass);
        let now = log.now();
        let stated = Stated { gen_time_ms: now * 1_000 + more_ms, accuracy_ms };
        log.timestamp("tsa", stated.gen_time_ms, |note| authority.stamp(note, stated));
        log.run(&[&agent], 150, VerdictResult::Pass);
        let statement = judge(&log, &agent, &of(&log, &agent, 200, 260), Some(&authority)).unwrap();
        let bound = statement.not_before[0];
        assert_eq!(bound.time.seconds, now.checked_add_signed(expected).unwrap(), "{stated:?}");
        assert_eq!(bound.accuracy_ms, accuracy_ms);
    }
}

/// Every part of what stands under beacons.
pub(crate) const BEACON_ALTERATIONS: &[Alteration] = &[
    ("version 1 with time-stamps under beacons", "version", |p| p.version = 1),
    ("version 2 without", "version", |p| p.beacon_stamps = None),
    ("no tokens", "form", |p| stamps(p).tokens.clear()),
    ("no beacons", "form", |p| stamps(p).beacons.clear()),
    ("a token's byte", "beacon-token", |p| stamps(p).tokens[0].token[200] ^= 1),
    ("tokens exchanged", "beacon-token", |p| {
        let (left, right) = stamps(p).tokens.split_at_mut(1);
        std::mem::swap(&mut left[0].token, &mut right[0].token);
    }),
    ("a token that is none", "beacon-token", |p| stamps(p).tokens[0].token = ByteBuf::from([0x30, 0])),
    ("its entry names another token", "beacon-token", |p| rename(p, |body| body.token.0[0] ^= 1)),
    ("its entry says another time", "beacon-token", |p| rename(p, |body| body.gen_time.0 += 3_600_000)),
    ("its entry names another authority", "beacon-inclusion", |p| rename(p, |body| body.tsa = "other".into())),
    ("its entry names another note", "beacon-note", |p| rename(p, |body| body.note.0[0] ^= 1)),
    ("it stamps what comes after it", "beacon-entry", |p| rename(p, |body| body.tree_size += 100_000)),
    ("it stamps another size", "beacon-note", |p| rename(p, |body| body.tree_size -= 1)),
    ("its entry is of another kind", "beacon-entry", |p| stamps(p).tokens[0].entry = p_entry(p)),
    ("its entry is on an agent's chain", "beacon-entry", |p| {
        let agent = p.agent.clone();
        let entry = &mut stamps(p).tokens[0].entry;
        let mut decoded = Entry::decode(entry).unwrap();
        decoded.agent = Some(agent);
        *entry = ByteBuf::from(decoded.encode().unwrap());
    }),
    ("its note exchanged", "beacon-note", |p| stamps(p).tokens[0].note = p.note.clone()),
    ("its note's signature", "beacon-note", |p| {
        let note = &mut stamps(p).tokens[0].note;
        let at = note.len() - 8;
        note[at] = if note[at] == b'A' { b'B' } else { b'A' };
    }),
    ("its index", "beacon-inclusion", |p| stamps(p).tokens[0].index += 1),
    ("its path", "beacon-inclusion", |p| stamps(p).beacons[0].inclusion[0].0[0] ^= 1),
    ("its path cut", "beacon-inclusion", |p| stamps(p).beacons[0].inclusion.truncate(1)),
    ("another token's path", "beacon-inclusion", |p| {
        let (left, right) = stamps(p).beacons.split_at_mut(1);
        right[0].inclusion = left[0].inclusion.clone();
    }),
    ("of no quote that is shown", "beacon-quote", |p| stamps(p).beacons.last_mut().unwrap().number += 1),
    ("of no token", "beacon-quote", |p| stamps(p).beacons.last_mut().unwrap().token = 2),
    ("out of order", "beacon-quote", |p| stamps(p).beacons.swap(0, 1)),
    ("twice", "beacon-quote", |p| {
        let first = stamps(p).beacons[0].clone();
        stamps(p).beacons.insert(0, first);
    }),
    ("a token that is of no use", "beacon-quote", |p| stamps(p).beacons.retain(|beacon| beacon.token == 0)),
    ("the beacon not shown", "beacon-quote", |p| p.evidence[0].beacon = None),
];

fn p_entry(proof: &IntervalProof) -> ByteBuf {
    proof.end.entry.clone()
}

fn rename(proof: &mut IntervalProof, alter: impl FnOnce(&mut TimestampBody)) {
    let entry = &mut stamps(proof).tokens[0].entry;
    let mut decoded = Entry::decode(entry).unwrap();
    assert_eq!(decoded.kind, Kind::Timestamp);
    let mut body = TimestampBody::decode(&decoded.body).unwrap();
    alter(&mut body);
    decoded.body = body.encode();
    *entry = ByteBuf::from(decoded.encode().unwrap());
}

#[test]
fn each_altered_part_under_a_beacon_is_refused_by_its_own_check() {
    let authority = Dated::new(1);
    let (log, agent) = stamped(&authority);
    let good = of(&log, &agent, 200, 500);
    let mut wrong = Vec::new();
    for (what, name, alter) in BEACON_ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        let refused = judge(&log, &agent, &proof, Some(&authority)).expect_err(what);
        if refused.name() != *name {
            wrong.push(format!("{what}: {refused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Logs whose operator has put on record what bounds nothing, with the check that says so to an auditor who trusts
/// the first authority.
pub(crate) fn false_stamps() -> Vec<(&'static str, &'static str, SyntheticLog, AgentId)> {
    type Stamping = fn(&mut SyntheticLog, UnixMillis);
    let cases: [(&str, &str, Stamping); 3] = [
        ("a token over another log", "beacon-rejected", |log, now| {
            let stated = Stated { gen_time_ms: now.0, accuracy_ms: None };
            log.timestamp("tsa", now.0, |_| Dated::new(1).stamp(b"other.example/log\n1\n", stated));
        }),
        ("an entry that says a later time than its token", "beacon-token", |log, now| {
            let stated = Stated { gen_time_ms: now.0, accuracy_ms: None };
            log.timestamp("tsa", now.0 + 3_600_000, |note| Dated::new(1).stamp(note, stated));
        }),
        ("a token whose time was altered afterwards", "beacon-rejected", |log, now| {
            let stated = Stated { gen_time_ms: now.0, accuracy_ms: None };
            let later = Stated { gen_time_ms: now.0 + 3_600_000, ..stated };
            log.timestamp("tsa", later.gen_time_ms, |note| {
                let [mut token, other] = [stated, later].map(|stated| Dated::new(1).stamp(note, stated));
                let time = |token: &[u8]| token.windows(2).position(|head| head == [0x18, 15]).unwrap() + 2;
                let (at, from) = (time(&token), time(&other));
                token[at..at + 15].copy_from_slice(&other[from..from + 15]);
                token
            });
        }),
    ];
    let made = cases.into_iter().map(|(what, name, stamping)| {
        let (mut log, agent) = SyntheticLog::with_machine(3, 2);
        log.run(&[&agent], 150, VerdictResult::Pass);
        let now = UnixMillis(log.now() * 1_000);
        stamping(&mut log, now);
        log.run(&[&agent], 150, VerdictResult::Pass);
        (what, name, log, agent)
    });
    made.collect()
}

#[test]
fn what_bounds_nothing_is_refused() {
    let authority = Dated::new(1);
    for (what, name, log, agent) in false_stamps() {
        let refused = judge(&log, &agent, &of(&log, &agent, 200, 260), Some(&authority)).expect_err(what);
        assert_eq!(refused.name(), name, "{what}: {refused:?}");
    }
}

/// A log may ask several authorities, and an auditor trust one of them.
#[test]
fn a_token_of_an_authority_that_is_not_trusted_says_nothing_and_spoils_nothing() {
    let (one, two) = (Dated::new(1), Dated::new(2));
    let (log, agent) = of_two(&one, &two);
    let mut proof = of(&log, &agent, 200, 260);
    assert_eq!(stamps(&mut proof).tokens.len(), 2);
    let bounds = |trusted: Option<&Dated>| {
        let bounds = judge(&log, &agent, &proof, trusted).unwrap().not_before;
        bounds
            .iter()
            .filter(|bound| bound.number == bounds[0].number)
            .map(|bound| bound.time.seconds)
            .collect::<Vec<_>>()
    };
    assert_eq!((bounds(Some(&one)).len(), bounds(Some(&two)).len(), bounds(None).len()), (1, 1, 0));
    assert_eq!(bounds(Some(&one))[0] + 1, bounds(Some(&two))[0], "each its own");
    assert!(judge(&log, &agent, &proof, Some(&Dated::new(3))).unwrap().not_before.is_empty());
}

/// A log that two authorities stamp, the second a second later.
pub(crate) fn of_two(one: &Dated, two: &Dated) -> (SyntheticLog, AgentId) {
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 150, VerdictResult::Pass);
    for (tsa, authority, ahead) in [("one", one, 0), ("two", two, 1_000)] {
        let stated = Stated { gen_time_ms: log.now() * 1_000 + ahead, accuracy_ms: Some(ACCURACY_MS) };
        log.timestamp(tsa, stated.gen_time_ms, |note| authority.stamp(note, stated));
    }
    log.run(&[&agent], 150, VerdictResult::Pass);
    (log, agent)
}

/// A quote that does not answer its own nonce may be of any age, whatever its entry says.
#[test]
fn a_quote_with_another_nonce_is_bounded_by_nothing() {
    let authority = Dated::new(1);
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 150, VerdictResult::Pass);
    stamp(&mut log, &authority, 0);
    log.run(&[&agent], 50, VerdictResult::Pass);
    log.machine(&agent).stale = true;
    log.run(&[&agent], 60, VerdictResult::Fail);
    log.machine(&agent).stale = false;
    log.run(&[&agent], 90, VerdictResult::Pass);
    let mut proof = of(&log, &agent, 180, 235);
    let after = proof.evidence.last().unwrap().number;
    let bounded =
        |proof: &mut IntervalProof, number| stamps(proof).beacons.iter().any(|beacon| beacon.number == number);
    assert!(!bounded(&mut proof, after) && judge(&log, &agent, &proof, Some(&authority)).is_ok());
    let mut beacon = stamps(&mut proof).beacons[0].clone();
    beacon.number = after;
    stamps(&mut proof).beacons.push(beacon);
    assert_eq!(judge(&log, &agent, &proof, Some(&authority)).unwrap_err().name(), "nonce");
}

#[test]
fn an_authority_ahead_of_its_time_contradicts_the_witnesses() {
    let authority = Dated::new(1);
    let (mut log, agent) = SyntheticLog::with_machine(3, 2);
    log.run(&[&agent], 150, VerdictResult::Pass);
    stamp(&mut log, &authority, 86_400);
    log.run(&[&agent], 150, VerdictResult::Pass);
    let statement = judge(&log, &agent, &of(&log, &agent, 200, 260), Some(&authority)).unwrap();
    assert!(!statement.not_before.is_empty() && statement.not_before.iter().all(NotBefore::is_contradicted));
}
