#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::convert::Infallible;

use rs_merkle::{Hasher, MerkleTree};

use super::*;
use crate::frontier::Frontier;
use crate::hash::leaf_hash;
use crate::naive::{self, Levels};

/// RFC 6962 for `rs_merkle`, whose own hashers do not separate leaves from nodes.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        *leaf_hash(data).as_bytes()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        match right {
            Some(right) => {
                let both = [[1].as_slice(), left, right].concat();
                openssl::sha::sha256(&both)
            }
            None => *left,
        }
    }
}

fn plain<T>(result: Result<T, TreeError<Infallible>>) -> T {
    result.unwrap()
}

#[test]
fn roots_and_proofs_equal_the_naive_ones_for_every_size_to_256() {
    let leaves = naive::leaves(256);
    let levels = Levels::of(&leaves);
    for size in 0..=256_usize {
        let n = size as u64;
        assert_eq!(plain(tree_head(n, levels.read())).root, naive::root(&leaves[..size]));
        assert_eq!(root_of(&leaves[..size]), naive::root(&leaves[..size]));
        for index in 0..size {
            let proof = plain(inclusion_proof(index as u64, n, levels.read()));
            assert_eq!(proof.hashes(), naive::path(index, &leaves[..size]));
        }
        for old in 1..=size {
            let proof = plain(consistency_proof(old as u64, n, levels.read()));
            assert_eq!(proof.hashes(), naive::proof(old, &leaves[..size]));
        }
    }
}

#[test]
fn subtree_proofs_equal_the_naive_ones_for_every_subtree_to_70() {
    let leaves = naive::leaves(70);
    let levels = Levels::of(&leaves);
    for size in 1..=70_usize {
        for start in 0..size {
            for end in start + 1..=size {
                let Ok(subtree) = Subtree::new(start as u64, end as u64) else {
                    continue;
                };
                assert_eq!(plain(subtree_hash(subtree, levels.read())), naive::root(&leaves[start..end]));
                let proof = plain(subtree_consistency_proof(subtree, size as u64, levels.read()));
                assert_eq!(
                    proof.hashes(),
                    naive::subtree_proof(start, end, &leaves[..size], true),
                    "[{start}, {end}) in {size}"
                );
            }
        }
    }
}

#[test]
fn roots_and_inclusion_proofs_equal_those_of_rs_merkle_for_every_size_to_300() {
    let leaves = naive::leaves(300);
    let levels = Levels::of(&leaves);
    for size in 1..=300_usize {
        let theirs: Vec<[u8; 32]> = leaves[..size].iter().map(|hash| *hash.as_bytes()).collect();
        let theirs = MerkleTree::<Rfc6962>::from_leaves(&theirs);
        let head = plain(tree_head(size as u64, levels.read()));
        assert_eq!(theirs.root().unwrap(), *head.root.as_bytes());
        for index in 0..size {
            let ours = plain(inclusion_proof(index as u64, size as u64, levels.read()));
            let ours: Vec<[u8; 32]> = ours.hashes().iter().map(|hash| *hash.as_bytes()).collect();
            assert_eq!(theirs.proof(&[index]).proof_hashes(), ours, "{index} in {size}");
        }
    }
}

#[test]
fn a_frontier_knows_every_root_and_can_be_taken_up_anywhere() {
    let leaves = naive::leaves(600);
    let levels = Levels::of(&leaves);
    let mut frontier = Frontier::new();
    assert_eq!(frontier.tree_head(), TreeHead::EMPTY);
    for (size, leaf) in (1_u64..).zip(&leaves) {
        frontier.append(*leaf, |_, _, _| {});
        assert_eq!(frontier.tree_head(), plain(tree_head(size, levels.read())));
        let mut restored = plain(Frontier::restore(size, levels.read()));
        assert_eq!(restored.tree_head(), frontier.tree_head());
        restored.append(leaves[0], |_, _, _| {});
        let mut longer = leaves[..usize::try_from(size).unwrap()].to_vec();
        longer.push(leaves[0]);
        assert_eq!(restored.tree_head().root, root_of(&longer), "appending after a restart");
    }
}

#[test]
fn stored_levels_hold_the_roots_of_complete_ranges_only() {
    // 66,000 leaves: 257 hashes of level 1, one of level 2.
    let leaves = naive::leaves(66_000);
    let levels = Levels::of(&leaves);
    assert_eq!(levels.level(0), leaves);
    let level_1: Vec<Hash> = leaves.chunks_exact(256).map(root_of).collect();
    assert_eq!(levels.level(1), level_1);
    assert_eq!(levels.level(2), [root_of(&leaves[..65_536])]);
    assert_eq!(levels.level(3), []);

    for size in [65_535, 65_536, 65_537, 65_792, 66_000_usize] {
        let head = plain(tree_head(size as u64, levels.read()));
        assert_eq!(head.root, root_of(&leaves[..size]));
        let restored = plain(Frontier::restore(size as u64, levels.read()));
        assert_eq!(restored.tree_head(), head);
        for index in [0, 255, 256, 40_000, size - 1] {
            let proof = plain(inclusion_proof(index as u64, size as u64, levels.read()));
            crate::proof::verify_inclusion(&leaves[index], index as u64, &head, &proof).unwrap();
        }
    }
}

#[test]
fn a_proof_in_ten_million_leaves_reads_few_hashes() {
    // The reader answers anything: only the number of hashes asked for counts here.
    let mut asked = 0;
    let read = |_: u8, _: u64, out: &mut [Hash]| {
        asked += out.len();
        Ok::<_, Infallible>(())
    };
    let size = 10_000_000;
    let proof = plain(inclusion_proof(7_654_321, size, read));
    assert!(proof.hashes().len() <= 24);
    // Three levels of tiles, one read of each for the way and one for the right edge.
    assert!(asked <= 2 * 3 * 256, "{asked} hashes");
}

#[test]
fn what_is_not_in_the_tree_is_refused() {
    let levels = Levels::of(&naive::leaves(5));
    let read = levels.read();
    assert_eq!(inclusion_proof(5, 5, read), Err(TreeError::OutOfRange { end: 6, tree_size: 5 }));
    let end = u64::MAX;
    let beyond = Err(TreeError::OutOfRange { end, tree_size: 5 });
    assert_eq!(inclusion_proof(end, 5, read), beyond);
    assert_eq!(inclusion_proof(0, 0, read), Err(TreeError::OutOfRange { end: 1, tree_size: 0 }));
    assert_eq!(consistency_proof(0, 5, read), Err(TreeError::FromEmpty));
    let shrunk = Err(TreeError::OutOfRange { end: 5, tree_size: 4 });
    assert_eq!(consistency_proof(5, 4, read), shrunk);
}

#[test]
fn a_failing_reader_is_named_with_its_place() {
    let read = |_: u8, _: u64, _: &mut [Hash]| Err(std::fmt::Error);
    let failed = TreeError::Read { level: 1, start: 0, source: std::fmt::Error };
    assert_eq!(tree_head(256, read), Err(failed));
}

#[test]
fn the_fixture_log_has_the_recorded_roots_and_proofs() {
    let leaves: Vec<Hash> =
        (0..fixtures_vectors::tlog::ENTRIES).map(|index| leaf_hash(&fixtures_vectors::tlog::entry(index))).collect();
    let levels = Levels::of(&leaves);
    for (size, root) in fixtures_vectors::tlog::roots() {
        assert_eq!(plain(tree_head(size, levels.read())).root.to_string(), root);
    }
    let hex = |hashes: &[Hash]| hashes.iter().map(Hash::to_string).collect::<Vec<_>>();
    for vector in fixtures_vectors::tlog::inclusion_proofs() {
        let proof = plain(inclusion_proof(vector.from, vector.tree_size, levels.read()));
        assert_eq!(hex(proof.hashes()), vector.hashes);
    }
    for vector in fixtures_vectors::tlog::consistency_proofs() {
        let proof = plain(consistency_proof(vector.from, vector.tree_size, levels.read()));
        assert_eq!(hex(proof.hashes()), vector.hashes);
    }
}
