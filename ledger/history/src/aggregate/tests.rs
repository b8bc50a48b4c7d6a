#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

fn one(time: u64, fails: u64) -> Aggregate {
    Aggregate { quotes: 1, first: time, last: time, max_gap: 0, fails, misses: 2, resets: 1, late: 1 }
}

#[test]
fn the_layout_is_the_specifications() {
    let of = Aggregate { quotes: 1, first: 2, last: 3, max_gap: 4, fails: 5, misses: 6, resets: 7, late: 8 };
    let mut expected = Vec::new();
    (1..=6u64).for_each(|value| expected.extend_from_slice(&value.to_be_bytes()));
    (7..=8u32).for_each(|value| expected.extend_from_slice(&value.to_be_bytes()));
    assert_eq!(of.to_bytes().as_slice(), expected);
    assert_eq!(Aggregate::NONE.to_bytes(), [0; AGGREGATE_BYTES]);
}

#[test]
fn a_run_may_not_begin_before_the_one_on_its_left_ends() {
    assert_eq!(one(5, 0).combine(&one(4, 0)), Err(NotInOrder { ended: 5, begins: 4 }));
    one(5, 0).combine(&one(5, 0)).unwrap();
}

proptest! {
    #[test]
    fn bytes_come_back(values in prop::array::uniform6(any::<u64>()), resets: u32, late: u32) {
        let [quotes, first, last, max_gap, fails, misses] = values;
        let of = Aggregate { quotes, first, last, max_gap, fails, misses, resets, late };
        prop_assert_eq!(Aggregate::from_bytes(&of.to_bytes()), of);
        let cbor = messages::cbor::encode(&of);
        prop_assert_eq!(messages::cbor::decode::<Aggregate>(&cbor).unwrap(), of);
    }

    #[test]
    fn combining_is_associative_and_counts_what_is_there(mut times in prop::collection::vec(0..10_000u64, 3..20), cut in any::<(u8, u8)>()) {
        times.sort_unstable();
        let runs: Vec<Aggregate> = times.iter().map(|time| one(*time, time % 2)).collect();
        let sum = |runs: &[Aggregate]| runs.iter().try_fold(Aggregate::NONE, |sum, run| sum.combine(run)).unwrap();
        let a = 1 + usize::from(cut.0) % (runs.len() - 2);
        let b = a + 1 + usize::from(cut.1) % (runs.len() - a - 1);
        let (x, y, z) = (sum(&runs[..a]), sum(&runs[a..b]), sum(&runs[b..]));
        let left = x.combine(&y).unwrap().combine(&z).unwrap();
        prop_assert_eq!(left, x.combine(&y.combine(&z).unwrap()).unwrap());
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        prop_assert_eq!(left.max_gap, gaps.max().unwrap());
        prop_assert_eq!((left.quotes, left.first), (times.len() as u64, times[0]));
        prop_assert_eq!(left.fails, times.iter().filter(|time| *time % 2 == 1).count() as u64);
    }
}
