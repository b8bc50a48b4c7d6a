#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const SHA256: PcrBank = PcrBank(HashAlgorithm::Sha256);

fn index(number: u8) -> PcrIndex {
    PcrIndex::try_from(number).unwrap()
}

#[test]
fn there_are_registers_0_to_23() {
    assert_eq!(index(23).get(), 23);
    assert_eq!(PcrIndex::try_from(24), Err(PcrIndexOutOfRange { found: 24 }));
    assert_eq!(PcrIndex::all().map(PcrIndex::get).collect::<Vec<_>>(), (0..24).collect::<Vec<_>>());
}

#[test]
fn a_mask_above_24_bits_is_rejected() {
    assert!(PcrSelection::from_mask(SHA256, 0x00ff_ffff).is_ok());
    assert_eq!(PcrSelection::from_mask(SHA256, 0x0100_0000), Err(PcrMaskOutOfRange { found: 0x0100_0000 }));
}

#[test]
fn a_selection_is_ascending_whatever_the_order_of_naming() {
    let selection = PcrSelection::from_indices(SHA256, [index(16), index(0), index(10), index(0)]);
    assert_eq!(selection.indices().map(PcrIndex::get).collect::<Vec<_>>(), [0, 10, 16]);
    assert_eq!((selection.mask(), selection.len(), selection.bitmap()), (0x0001_0401, 3, [0x01, 0x04, 0x01]));
    assert_eq!(selection.to_string(), "sha256:0,10,16");
    assert_eq!(selection.with(index(1)).mask(), 0x0001_0403);
    assert!(selection.contains(index(10)) && !selection.contains(index(11)) && !selection.is_empty());
}

#[test]
fn values_hash_in_register_order_whatever_the_order_of_stating() {
    let (low, high) = (Digest::zero(HashAlgorithm::Sha256), Digest::new(HashAlgorithm::Sha256, &[0xff; 32]).unwrap());
    let mut values = PcrValues::new(SHA256);
    values.insert(index(17), high).unwrap();
    values.insert(index(2), low).unwrap();
    let expected = openssl::sha::sha256(&[[0; 32], [0xff; 32]].concat());
    assert_eq!(values.digest(HashAlgorithm::Sha256).unwrap().as_bytes(), expected);
    let longer = values.digest(HashAlgorithm::Sha512).unwrap();
    assert_eq!(longer.as_bytes(), openssl::sha::sha512(&[[0; 32], [0xff; 32]].concat()));
    assert_eq!(values.selection().to_string(), "sha256:2,17");
    assert_eq!((values.len(), values.is_empty(), values.get(index(2))), (2, false, Some(&low)));
}

#[test]
fn a_value_of_another_bank_is_refused() {
    let mut values = PcrValues::new(SHA256);
    let refused = values.insert(index(0), Digest::zero(HashAlgorithm::Sha384)).unwrap_err();
    let expected = PcrValueOfOtherBank { expected: SHA256, index: index(0), found: HashAlgorithm::Sha384 };
    assert_eq!(refused, expected);
    assert!(values.is_empty());
}
