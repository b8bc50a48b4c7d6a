#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;
use crate::naive::{self, Levels};
use crate::tree::{consistency_proof, inclusion_proof, subtree_consistency_proof};

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { tree_size: leaves.len() as u64, root: naive::root(leaves) }
}

fn flip(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

#[test]
fn every_inclusion_proof_to_256_leaves_verifies_at_its_place_only() {
    let leaves = naive::leaves(256);
    for size in 1..=256 {
        let head = head(&leaves[..size]);
        for index in 0..size {
            let proof = InclusionProof::new(naive::path(index, &leaves[..size]));
            let at = index as u64;
            verify_inclusion(&leaves[index], at, &head, &proof).unwrap();
            let next = verify_inclusion(&leaves[index], at + 1, &head, &proof);
            next.unwrap_err();
        }
    }
}

#[test]
fn every_consistency_proof_to_256_leaves_verifies_and_not_for_other_roots() {
    let leaves = naive::leaves(256);
    let heads: Vec<TreeHead> = (0..=256).map(|size| head(&leaves[..size])).collect();
    let other = Hash::digest(b"other");
    for new in 1..=256 {
        for old in 1..=new {
            let proof = ConsistencyProof::new(naive::proof(old, &leaves[..new]));
            let (old, new) = (heads[old], heads[new]);
            verify_consistency(&old, &new, &proof).unwrap();
            let false_old = TreeHead { root: other, ..old };
            verify_consistency(&false_old, &new, &proof).unwrap_err();
            let false_new = TreeHead { root: other, ..new };
            verify_consistency(&old, &false_new, &proof).unwrap_err();
            let smaller = TreeHead { tree_size: old.tree_size - 1, ..old };
            verify_consistency(&smaller, &new, &proof).unwrap_err();
        }
    }
}

#[test]
fn every_subtree_to_70_leaves_verifies_and_not_with_another_hash() {
    let leaves = naive::leaves(70);
    let levels = Levels::of(&leaves);
    for size in 1..=70_u64 {
        let head = head(&leaves[..usize::try_from(size).unwrap()]);
        for start in 0..size {
            for end in start + 1..=size {
                let Ok(subtree) = Subtree::new(start, end) else {
                    continue;
                };
                let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
                let root = naive::root(&leaves[range.clone()]);
                let proof = subtree_consistency_proof(subtree, size, levels.read()).unwrap();
                verify_subtree_consistency(subtree, &root, &head, &proof).unwrap();
                let other = Hash::digest(b"other");
                verify_subtree_consistency(subtree, &other, &head, &proof).unwrap_err();

                let inside = InclusionProof::new(naive::path(0, &leaves[range]));
                let leaf = &leaves[usize::try_from(start).unwrap()];
                verify_subtree_inclusion(leaf, start, subtree, &root, &inside).unwrap();
                verify_subtree_inclusion(leaf, end, subtree, &root, &inside).unwrap_err();
            }
        }
    }
}

#[test]
fn errors_say_which_side_is_wrong() {
    let leaves = naive::leaves(7);
    let (old, new) = (head(&leaves[..3]), head(&leaves));
    let proof = ConsistencyProof::new(naive::proof(3, &leaves));
    let other = Hash::digest(b"other");
    assert_eq!(
        verify_consistency(&TreeHead { root: other, ..old }, &new, &proof),
        Err(ConsistencyError::OldRoot { expected: other, computed: old.root })
    );
    assert_eq!(
        verify_consistency(&old, &TreeHead { root: other, ..new }, &proof),
        Err(ConsistencyError::NewRoot { expected: other, computed: new.root })
    );
    assert_eq!(verify_consistency(&new, &old, &proof), Err(ConsistencyError::Shrunk { old: 7, new: 3 }));
    assert_eq!(
        verify_consistency(&old, &new, &ConsistencyProof::default()),
        Err(ConsistencyError::Length { expected: 4, found: 0 })
    );
    assert_eq!(
        verify_consistency(&old, &TreeHead { root: other, ..old }, &ConsistencyProof::default()),
        Err(ConsistencyError::Forked { tree_size: 3, old: old.root, new: other })
    );
    assert_eq!(
        verify_consistency(&TreeHead::EMPTY, &new, &ConsistencyProof::default()),
        Err(ConsistencyError::FromEmpty)
    );
    assert_eq!(
        verify_inclusion(&leaves[0], 7, &new, &InclusionProof::default()),
        Err(InclusionError::IndexOutOfRange { index: 7, start: 0, end: 7 })
    );
    assert_eq!(
        verify_inclusion(&leaves[0], 0, &new, &InclusionProof::default()),
        Err(InclusionError::Length { expected: 3, found: 0 })
    );
}

#[test]
fn the_largest_sizes_do_not_overflow() {
    let hash = Hash::digest(b"x");
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1] {
        for index in [0, 1, size / 2, size - 1] {
            let proof = InclusionProof::new(vec![hash; 64]);
            let _ = root_from_inclusion(&hash, index, size, &proof);
            let (old, new) = (index + 1, size);
            let length = ProofPath::new(Subtree::prefix(old), new).count();
            let proof = ConsistencyProof::new(vec![hash; length]);
            roots_from_consistency(Subtree::prefix(old), &hash, new, &proof).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn a_flipped_bit_anywhere_in_an_inclusion_is_refused(
        size in 1_u64..2000, place in any::<u64>(), which in any::<usize>(), bit in 0_usize..256,
    ) {
        let leaves = naive::leaves(size);
        let index = place % size;
        let head = head(&leaves);
        let leaf = leaves[usize::try_from(index).unwrap()];
        let proof = inclusion_proof(index, size, Levels::of(&leaves).read()).unwrap();
        verify_inclusion(&leaf, index, &head, &proof).unwrap();

        prop_assert!(verify_inclusion(&flip(&leaf, bit), index, &head, &proof).is_err());
        let root = flip(&head.root, bit);
        let other = TreeHead { root, ..head };
        prop_assert!(verify_inclusion(&leaf, index, &other, &proof).is_err());
        let mut hashes = proof.into_hashes();
        if !hashes.is_empty() {
            let which = which % hashes.len();
            let mut flipped = hashes.clone();
            flipped[which] = flip(&flipped[which], bit);
            let flipped = InclusionProof::new(flipped);
            prop_assert!(verify_inclusion(&leaf, index, &head, &flipped).is_err());
            hashes.remove(which);
            let shortened = InclusionProof::new(hashes);
            prop_assert!(verify_inclusion(&leaf, index, &head, &shortened).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_consistency_is_refused(
        size in 1_u64..2000, place in any::<u64>(), which in any::<usize>(), bit in 0_usize..256,
    ) {
        let leaves = naive::leaves(size);
        let old_size = 1 + place % size;
        let new = head(&leaves);
        let old = head(&leaves[..usize::try_from(old_size).unwrap()]);
        let proof = consistency_proof(old_size, size, Levels::of(&leaves).read()).unwrap();
        verify_consistency(&old, &new, &proof).unwrap();

        let other = TreeHead { root: flip(&old.root, bit), ..old };
        prop_assert!(verify_consistency(&other, &new, &proof).is_err());
        let other = TreeHead { root: flip(&new.root, bit), ..new };
        prop_assert!(verify_consistency(&old, &other, &proof).is_err());
        let mut hashes = proof.into_hashes();
        hashes.push(new.root);
        let longer = ConsistencyProof::new(hashes.clone());
        prop_assert!(verify_consistency(&old, &new, &longer).is_err());
        hashes.pop();
        if !hashes.is_empty() {
            let which = which % hashes.len();
            hashes[which] = flip(&hashes[which], bit);
            prop_assert!(verify_consistency(&old, &new, &ConsistencyProof::new(hashes)).is_err());
        }
    }

    #[test]
    fn arbitrary_proofs_never_panic(
        a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), count in 0_usize..70,
    ) {
        let hash = Hash::digest(b"x");
        let inclusion = InclusionProof::new(vec![hash; count]);
        let _ = root_from_inclusion(&hash, a, b, &inclusion);
        let consistency = ConsistencyProof::new(vec![hash; count]);
        let head = TreeHead { tree_size: c, root: hash };
        if let Ok(subtree) = Subtree::new(a, b) {
            let _ = verify_subtree_inclusion(&hash, c, subtree, &hash, &inclusion);
            let _ = verify_subtree_consistency(subtree, &hash, &head, &consistency);
        }
        let _ = verify_consistency(&TreeHead { tree_size: a, root: hash }, &head, &consistency);
    }
}
