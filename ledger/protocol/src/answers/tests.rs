#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn key(number: u64) -> IdempotencyKey {
    IdempotencyKey((u128::from(number)).to_be_bytes())
}

fn groups(count: usize) -> Vec<Group> {
    vec![Group { agent: None, expected: None, items: vec![] }; count]
}

fn answered(count: usize) -> Answered {
    Answered::new(Some("verifier"), &[], vec![Outcome::Appended { first: 1, count: 1 }; count])
}

#[test]
fn an_answer_is_for_the_same_submitter_and_the_same_groups_alone() {
    let outcomes = vec![Outcome::Appended { first: 1, count: 1 }, Outcome::Refused("a rule".to_owned())];
    let answered = Answered::new(Some("verifier"), &groups(2), outcomes.clone());
    assert_eq!(answered.outcomes_for(Some("verifier"), &groups(2)), Some(outcomes.as_slice()));
    for other in [Some("other"), Some(""), None] {
        assert_eq!(answered.outcomes_for(other, &groups(2)), None, "{other:?}");
    }
    for count in [1, 3] {
        assert_eq!(answered.outcomes_for(Some("verifier"), &groups(count)), None, "{count}");
    }
    let mut altered = groups(2);
    altered.last_mut().unwrap().agent = Some("node-1".parse().unwrap());
    assert_eq!(answered.outcomes_for(Some("verifier"), &altered), None);
}

#[test]
fn the_first_answer_stays() {
    let mut answers = Answers::default();
    answers.remember(key(1), answered(1));
    answers.remember(key(1), answered(2));
    assert_eq!(answers.get(&key(1)), Some(&answered(1)));
    assert_eq!(answers.get(&key(2)), None);
}

#[test]
fn the_oldest_is_forgotten_beyond_the_number_of_requests() {
    let mut answers = Answers::default();
    for number in 0..REMEMBERED_REQUESTS_MAX as u64 {
        assert!(answers.remember(key(number), answered(1)).is_empty());
    }
    assert_eq!(answers.remember(key(u64::MAX), answered(1)), [key(0)]);
    assert!(answers.get(&key(0)).is_none() && answers.get(&key(1)).is_some());
}

#[test]
fn the_oldest_are_forgotten_beyond_the_number_of_groups_but_never_the_latest() {
    let mut answers = Answers::default();
    answers.remember(key(1), answered(1));
    answers.remember(key(2), answered(REMEMBERED_GROUPS_MAX - 1));
    assert_eq!(answers.remember(key(3), answered(REMEMBERED_GROUPS_MAX + 1)), [key(1), key(2)]);
    assert!(answers.get(&key(3)).is_some());
    assert_eq!(answers.remember(key(4), answered(0)), [key(3)]);
}
