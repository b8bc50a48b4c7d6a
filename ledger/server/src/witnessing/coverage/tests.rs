#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use messages::ledger::{Head, Receipt};
use messages::{Digest, UnixMillis};

use super::*;

fn answer(index: u64) -> AppendAnswer {
    let receipt = Receipt { index, seq: 0, recorded: UnixMillis(0), leaf_hash: Digest::ZERO };
    let results = vec![GroupResult::Appended(vec![receipt]), GroupResult::Conflict(Head::default())];
    AppendAnswer { version: 1, results }
}

#[tokio::test]
async fn each_class_waits_for_its_own_kind_of_checkpoint() {
    let coverage = Coverage::new(None);
    coverage.wait(Ack::Durable, &answer(6)).await.unwrap();
    coverage.published(7, false);
    coverage.wait(Ack::Committed, &answer(6)).await.unwrap();
    let witnessed = answer(6);
    let waiting = coverage.wait(Ack::Witnessed, &witnessed);
    let (waited, ()) = tokio::join!(waiting, async {
        coverage.published(8, true);
    });
    waited.unwrap();
}

#[tokio::test]
async fn who_waits_when_nothing_more_comes_is_told_to_ask_again() {
    let coverage = Coverage::new(None);
    coverage.published(6, true);
    let not_covered = answer(6);
    let waiting = coverage.wait(Ack::Committed, &not_covered);
    let (waited, ()) = tokio::join!(waiting, async {
        coverage.end();
    });
    assert_eq!(waited, Err(Uncovered { size: 7 }));
    assert_eq!(coverage.wait(Ack::Witnessed, &answer(6)).await, Err(Uncovered { size: 7 }));
    coverage.wait(Ack::Witnessed, &answer(5)).await.unwrap();
}

#[test]
fn only_known_classes_that_the_log_can_meet_are_taken() {
    let coverage = Coverage::new(None);
    assert_eq!(Ack::parse(None, &coverage), Ok(Ack::Durable));
    assert_eq!(Ack::parse(Some("committed"), &coverage), Ok(Ack::Committed));
    assert_eq!(Ack::parse(Some("witnessed"), &coverage), Err(MalformedAck::NoWitnesses));
    assert!(matches!(Ack::parse(Some("Durable"), &coverage), Err(MalformedAck::Unknown { .. })));
}
