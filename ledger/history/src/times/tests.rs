use super::*;

const NOTE: Digest = Digest([9; 32]);

fn entry(index: u64, tree_size: u64, policy: Option<u64>, low: Option<u64>) -> NoteTime {
    NoteTime { index, tree_size, note: NOTE, policy, low, high: low, low_max: None }
}

fn beacon(tree_size: u64, note_digest: Digest) -> Beacon {
    Beacon { tree_size, note_digest }
}

/// Checkpoints of 10, 20 and 30 entries, on record at 12, 22 and 32.
fn three(lows: [Option<u64>; 3]) -> NoteTimes {
    let mut times = NoteTimes::default();
    for (number, low) in (1..).zip(lows) {
        times.push(entry(10 * number + 2, 10 * number, Some(1), low));
    }
    times
}

#[test]
fn a_beacon_is_not_older_than_the_checkpoints_on_record_inside_it() {
    let times = three([Some(100), Some(200), Some(300)]);
    let unknown = Digest([1; 32]);
    assert_eq!(times.lower(&beacon(12, unknown), 1), None, "entry 12 is not among the first 12");
    assert_eq!(times.lower(&beacon(13, unknown), 1), Some(100));
    assert_eq!(times.lower(&beacon(33, unknown), 1), Some(300));
}

#[test]
fn a_beacon_on_record_is_not_older_than_its_own_cosignatures() {
    let times = three([Some(100), Some(200), Some(300)]);
    assert_eq!(times.lower(&beacon(20, NOTE), 1), Some(200));
    assert_eq!(times.lower(&beacon(20, Digest([1; 32])), 1), Some(100), "the same size, but another note");
}

#[test]
fn a_checkpoint_without_quorum_adds_nothing_and_takes_nothing() {
    let times = three([Some(100), None, Some(90)]);
    assert_eq!(times.lower(&beacon(20, NOTE), 1), Some(100));
    assert_eq!(times.lower(&beacon(33, NOTE), 1), Some(100), "a witness's clock that goes back takes nothing");
}

#[test]
fn another_policy_begins_anew() {
    let mut times = three([Some(100), Some(200), Some(300)]);
    times.push(entry(42, 40, Some(35), None));
    assert_eq!(times.lower(&beacon(43, NOTE), 35), None);
    assert_eq!(times.lower(&beacon(33, NOTE), 35), None, "judged by the policy before");
    times.push(entry(52, 50, Some(35), Some(250)));
    assert_eq!(times.lower(&beacon(53, NOTE), 35), Some(250));
}

#[test]
fn the_oldest_are_forgotten() {
    let mut times = NoteTimes::default();
    for number in 1..=CHECKPOINTS_REMEMBERED as u64 + 1 {
        times.push(entry(10 * number + 2, 10 * number, Some(1), Some(number)));
    }
    assert_eq!(times.lower(&beacon(13, NOTE), 1), None);
    assert_eq!(times.lower(&beacon(23, NOTE), 1), Some(2));
}
