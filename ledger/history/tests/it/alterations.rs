//! Every structural part of a proof altered, and refused by its own check.

use fixtures_histories::BEGIN;
use fixtures_histories::alterations::{ALTERATIONS, FULL_ALTERATIONS, rich};
use fixtures_tsa::{Authority, Certificate};
use ledger_history::aggregate::Aggregate;
use ledger_history::interval::{
    IntervalProof, IntervalRefused, Request, Stamp, StampedNote, Store as _, Trust, prove, verify,
};
use ledger_history::node::terms_after;
use ledger_protocol::Entry;
use ledger_timestamp::{Authorities, Nonce, TimestampRequest, TimestampResponse};
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::note::Note;
use ledger_tlog::tree::consistency_proof;
use messages::Digest;
use serde_bytes::ByteBuf;

use crate::support::{check, request, run, witnessed};

#[test]
fn each_altered_part_is_refused_by_its_own_check() {
    let (log, witnesses, agent, good, _) = rich();
    check(&log, Some(&witnesses), &agent, &good.encode()).unwrap();
    let mut wrong = Vec::new();
    for (what, name, alter) in ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        let refused = check(&log, Some(&witnesses), &agent, &proof.encode()).expect_err(what);
        if refused.name() != *name {
            wrong.push(format!("{what}: {refused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where records of the opened tree begin, with their first byte.
pub(crate) fn records(tree: &[u8]) -> Vec<(usize, u8)> {
    let mut at = 0;
    let mut found = Vec::new();
    while at < tree.len() {
        found.push((at, tree[at]));
        at += [1, 121, 165][usize::from(tree[at])];
    }
    found
}

#[test]
fn each_altered_record_of_the_tree_is_refused() {
    let (log, witnesses, agent, good, _) = rich();
    let mut seen = [0; 3];
    for (at, kind) in records(&good.tree) {
        seen[usize::from(kind)] += 1;
        let length = [1, 121, 165][usize::from(kind)];
        // All fields are met; a verification takes a millisecond or two without optimisation.
        for offset in (0..length).step_by(9) {
            let mut proof = good.clone();
            proof.tree[at + offset] ^= 1;
            let refused = check(&log, Some(&witnesses), &agent, &proof.encode());
            let name = refused.expect_err("an altered tree").name();
            assert!(["tree", "tree-root"].contains(&name), "byte {offset} of a record of kind {kind}: {name}");
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

/// A prover that hides a failed quote must break a hash, whichever sums it writes.
#[test]
fn a_leaf_with_other_sums_is_refused() {
    let (log, witnesses, agent, good, _) = rich();
    let fails_at = 1 + 8 + 32;
    let failing = records(&good.tree)
        .into_iter()
        .find(|(at, kind)| *kind == 2 && good.tree[at + fails_at..at + fails_at + 8] == 1u64.to_be_bytes());
    let (at, _) = failing.unwrap();
    let mut proof = good.clone();
    proof.tree[at + fails_at + 7] = 0;
    let refused = check(&log, Some(&witnesses), &agent, &proof.encode()).unwrap_err();
    assert!(matches!(refused, IntervalRefused::TreeRoot { .. }), "{refused:?}");
}

#[test]
fn bytes_that_are_no_proof_are_refused() {
    let (log, witnesses, agent, good, _) = rich();
    let bytes = good.encode();
    for broken in [&bytes[..bytes.len() - 1], &[bytes.as_slice(), &[0]].concat(), &[], &[0x80]] {
        let refused = check(&log, Some(&witnesses), &agent, broken).unwrap_err();
        assert_eq!(refused.name(), "form");
    }
}

#[test]
fn no_flipped_byte_anywhere_changes_the_statement() {
    let (log, witnesses, agent, good, _) = rich();
    let statement = check(&log, Some(&witnesses), &agent, &good.encode()).unwrap();
    let bytes = good.encode();
    // Every 23rd byte, so that the test stays short; over the offsets all parts are met.
    for at in (0..bytes.len()).step_by(23) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x04;
        if let Ok(other) = check(&log, Some(&witnesses), &agent, &altered) {
            // Words outside all hashes: the interval's ends and the gap limit, within what the tree shows.
            let same = other.quotes == statement.quotes && other.failed == statement.failed;
            assert!(same && other.terms == statement.terms, "byte {at}");
        }
    }
}

#[test]
fn another_log_key_or_origin_is_refused() {
    let (log, witnesses, agent, good, _) = rich();
    let (key, witnesses) = (log.log_key(), Some(&witnesses));
    let other = Trust { origin: "log.example/other", log: key, witnesses, authorities: None };
    assert_eq!(verify(&good.encode(), &agent, &other).unwrap_err().name(), "checkpoint");
    let wrong = log.keys().witnesses()[0].verifier();
    let other = Trust { origin: fixtures_histories::ORIGIN, log: wrong, witnesses, authorities: None };
    assert_eq!(verify(&good.encode(), &agent, &other).unwrap_err().name(), "checkpoint");
}

#[test]
fn altered_entries_of_a_full_proof_are_refused() {
    let (log, witnesses, agent, _, mut request) = rich();
    request.full = true;
    let good = prove(&log, &request).unwrap();
    check(&log, Some(&witnesses), &agent, &good.encode()).unwrap();
    for (what, name, alter) in FULL_ALTERATIONS {
        let mut proof = good.clone();
        alter(&mut proof);
        let refused = check(&log, Some(&witnesses), &agent, &proof.encode()).expect_err(what);
        assert_eq!(refused.name(), *name, "{what}: {refused:?}");
    }
    // The entries of a full proof without the leaves.
    let mut proof = prove(&log, &Request { full: false, ..request.clone() }).unwrap();
    proof.entries = good.entries;
    assert_eq!(check(&log, Some(&witnesses), &agent, &proof.encode()).unwrap_err().name(), "full-leaf");
}

#[test]
fn a_passing_quote_with_another_nonce_is_refused() {
    let (mut log, witnesses) = witnessed();
    let agent = log.enrol("hypervisor-1");
    log.policy(&agent, 10_000, 10_000);
    log.close();
    log.machine(&agent).stale = true;
    run(&mut log, &[&agent], 300);
    let proof = prove(&log, &request(&log, &agent, BEGIN + 100, BEGIN + 200)).unwrap();
    assert_eq!(check(&log, Some(&witnesses), &agent, &proof.encode()).unwrap_err().name(), "nonce");
}

#[test]
fn a_stamp_bounds_from_above_and_an_altered_one_is_refused() {
    let (log, witnesses, agent, mut proof, _) = rich();
    let authority = Authority::new(&Certificate::default());
    let (_, note) = log.latest_note().unwrap();
    let token = authority_token(&authority, &note);
    proof.stamps.push(Stamp { note: StampedNote::Last, token: ByteBuf::from(token) });
    let roots = authorities(&authority);
    let trust = |witnesses| Trust {
        origin: fixtures_histories::ORIGIN,
        log: log.log_key(),
        witnesses,
        authorities: Some(&roots),
    };
    let statement = verify(&proof.encode(), &agent, &trust(Some(&witnesses))).unwrap();
    let strengths: Vec<_> = statement.committed_by.iter().map(|time| time.strength.name()).collect();
    assert_eq!(strengths, ["claimed", "witnessed", "stamped"]);
    proof.stamps[0].note = StampedNote::End;
    assert_eq!(verify(&proof.encode(), &agent, &trust(None)).unwrap_err().name(), "stamp-rejected");
    proof.stamps[0].note = StampedNote::Start;
    proof.start = None;
    proof.start_to_end.clear();
    assert_eq!(verify(&proof.encode(), &agent, &trust(None)).unwrap_err().name(), "stamp-note");
}

#[test]
fn sums_of_pieces_are_those_of_the_leaves() {
    let (log, witnesses, agent, good, _) = rich();
    let statement = check(&log, Some(&witnesses), &agent, &good.encode()).unwrap();
    let inside = log.leaves(&agent).iter().filter(|leaf| (good.from..=good.to).contains(&leaf.aggregate.last));
    let sum = inside.fold(Aggregate::NONE, |sum, leaf| sum.combine(&leaf.aggregate).unwrap());
    assert_eq!(
        (statement.quotes, statement.failed, statement.missed, statement.max_gap),
        (sum.quotes, sum.fails, sum.misses, sum.max_gap)
    );
}

pub(crate) fn authority_token(authority: &Authority, data: &[u8]) -> Vec<u8> {
    let request = TimestampRequest::new(&openssl::sha::sha256(data), Nonce::new(&[7; 16]));
    let answer = TimestampResponse::parse(&authority.reply(&request.to_der())).unwrap();
    answer.into_token().unwrap().to_der().to_vec()
}

pub(crate) fn authorities(authority: &Authority) -> Authorities {
    let mut roots = Authorities::new();
    roots.trust_pem(&authority.read("ca.pem")).unwrap();
    roots
}

/// Parts that fit together each for itself, put together by somebody who has the whole log.
#[test]
fn parts_of_other_proofs_are_refused() {
    let (log, witnesses, agent, good, request) = rich();
    let refused = |proof: &IntervalProof| check(&log, Some(&witnesses), &agent, &proof.encode()).unwrap_err().name();

    // Another machine's history under this one's name.
    let other = Request { slot: 1, ..request.clone() };
    assert_eq!(refused(&prove(&log, &other).unwrap()), "census-row");

    // A checkpoint that fits the log, but not the census.
    let (size, note) = log.latest_note().unwrap();
    let mut proof = good.clone();
    proof.end.note = ByteBuf::from(note);
    proof.end_to_note = vec![];
    let start = Checkpoint::parse(Note::parse(&good.start.as_ref().unwrap().note).unwrap().text()).unwrap();
    let path = consistency_proof(start.tree_head().tree_size, size, |level, at, out| log.hashes(level, at, out));
    proof.start_to_end = path.unwrap().hashes().iter().map(|hash| Digest(*hash.as_bytes())).collect();
    assert_eq!(refused(&proof), "census-size");

    // A census inside the interval as its start.
    let mut proof = prove(&log, &Request { full: true, ..request.clone() }).unwrap();
    let later = prove(&log, &Request { from: request.from + 150, ..request }).unwrap();
    (proof.start, proof.start_to_end) = (later.start, later.start_to_end);
    assert_eq!(refused(&proof), "start-too-late");

    // Terms that begin too late: behind the policy in force, then behind the leaf.
    let chain = |count: usize| {
        let entries = good.terms.entries.iter().take(count);
        entries.fold(good.terms.before, |terms, entry| terms_after(&terms, &Entry::leaf_hash(entry)))
    };
    for (skip, name) in [(2, "terms-short"), (3, "terms-of-leaf")] {
        let mut proof = good.clone();
        proof.terms.before = chain(skip);
        proof.terms.entries.drain(..skip);
        assert_eq!(refused(&proof), name);
    }
}
