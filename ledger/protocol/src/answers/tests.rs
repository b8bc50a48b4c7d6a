use super::*;

fn key(number: u64) -> IdempotencyKey {
    IdempotencyKey((u128::from(number)).to_be_bytes())
}

fn outcomes(count: usize) -> Vec<Outcome> {
    vec![Outcome::Appended { first: 1, count: 1 }; count]
}

#[test]
fn the_first_answer_stays() {
    let mut answers = Answers::default();
    answers.remember(key(1), outcomes(1));
    answers.remember(key(1), outcomes(2));
    assert_eq!(answers.get(&key(1)).map(<[_]>::len), Some(1));
    assert_eq!(answers.get(&key(2)), None);
}

#[test]
fn the_oldest_is_forgotten_beyond_the_number_of_requests() {
    let mut answers = Answers::default();
    for number in 0..REMEMBERED_REQUESTS_MAX as u64 {
        assert!(answers.remember(key(number), outcomes(1)).is_empty());
    }
    assert_eq!(answers.remember(key(u64::MAX), outcomes(1)), [key(0)]);
    assert!(answers.get(&key(0)).is_none() && answers.get(&key(1)).is_some());
}

#[test]
fn the_oldest_are_forgotten_beyond_the_number_of_groups_but_never_the_latest() {
    let mut answers = Answers::default();
    answers.remember(key(1), outcomes(1));
    answers.remember(key(2), outcomes(REMEMBERED_GROUPS_MAX - 1));
    assert_eq!(answers.remember(key(3), outcomes(REMEMBERED_GROUPS_MAX + 1)), [key(1), key(2)]);
    assert!(answers.get(&key(3)).is_some());
    assert_eq!(answers.remember(key(4), outcomes(0)), [key(3)]);
}
