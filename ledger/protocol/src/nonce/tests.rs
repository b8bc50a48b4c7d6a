#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn derive(change: impl FnOnce(&mut NonceInputs<'_>)) -> String {
    let agent = "node-1".parse().unwrap();
    let mut inputs = NonceInputs {
        beacon: Beacon { tree_size: 9, note_digest: Digest([1; 32]) },
        agent: &agent,
        head: Head { seq: 3, prev: Digest([2; 32]) },
        salt: Digest([3; 32]),
    };
    change(&mut inputs);
    inputs.derive().as_str().to_owned()
}

#[test]
fn the_form_is_32_lower_case_letters_and_digits() {
    let nonce = derive(|_| ());
    assert_eq!(nonce.len(), 32);
    assert!(nonce.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)));
}

#[test]
fn rfc_4648_vectors_come_out() {
    assert_eq!(base32(b"foobafoobafoobafooba"), "mzxw6ytb".repeat(4));
    assert_eq!(base32(&[0xff; 20]), "7".repeat(32));
}

#[test]
fn every_input_but_the_tree_size_changes_the_nonce() {
    let plain = derive(|_| ());
    let other = "node-2".parse().unwrap();
    assert_ne!(plain, derive(|i| i.beacon.note_digest = Digest([9; 32])));
    assert_ne!(plain, derive(|i| i.head.seq = 4));
    assert_ne!(plain, derive(|i| i.head.prev = Digest([9; 32])));
    assert_ne!(plain, derive(|i| i.salt = Digest([9; 32])));
    let agent_differs = NonceInputs {
        beacon: Beacon { tree_size: 9, note_digest: Digest([1; 32]) },
        agent: &other,
        head: Head { seq: 3, prev: Digest([2; 32]) },
        salt: Digest([3; 32]),
    };
    assert_ne!(plain, agent_differs.derive().as_str());
    // The size is in the note that the digest covers.
    assert_eq!(plain, derive(|i| i.beacon.tree_size = 10));
}
