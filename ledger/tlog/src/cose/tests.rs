#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey};
use proptest::prelude::*;

use super::*;
use crate::naive;

const ISSUER: &str = "https://ledger.test/log";

fn ed25519() -> ReceiptSigner {
    ReceiptSigner::new(PKey::private_key_from_raw_bytes(&[7; 32], Id::ED25519).unwrap()).unwrap()
}

fn p256() -> ReceiptSigner {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    ReceiptSigner::new(PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()).unwrap()
}

fn head(size: usize, leaves: &[Hash]) -> TreeHead {
    TreeHead { tree_size: size as u64, root: naive::root(&leaves[..size]) }
}

fn inclusion(signer: &ReceiptSigner, index: usize, size: usize, leaves: &[Hash]) -> Receipt {
    let path = InclusionProof::new(naive::path(index, &leaves[..size]));
    let head = head(size, leaves);
    Receipt::issue_inclusion(signer, ISSUER, &leaves[index], index as u64, &head, path).unwrap()
}

fn consistency(signer: &ReceiptSigner, old: usize, new: usize, leaves: &[Hash]) -> Receipt {
    let path = ConsistencyProof::new(naive::proof(old, &leaves[..new]));
    Receipt::issue_consistency(signer, ISSUER, &head(old, leaves), &head(new, leaves), path).unwrap()
}

#[test]
fn receipts_of_inclusion_verify_for_every_leaf_and_both_algorithms_and_for_no_other_leaf_or_key() {
    let leaves = naive::leaves(33);
    for signer in [ed25519(), p256()] {
        let key = signer.verifier();
        for size in [2, 3, 8, 17, 33] {
            for index in 0..size {
                let bytes = inclusion(&signer, index, size, &leaves).to_bytes();
                let receipt = Receipt::parse(&bytes).unwrap();
                assert_eq!(receipt.to_bytes(), bytes);
                assert_eq!(receipt.verify_inclusion(&leaves[index], key).unwrap(), head(size, &leaves).root);
                let other = &leaves[(index + 1) % size];
                let refused = receipt.verify_inclusion(other, key);
                assert!(matches!(refused, Err(ReceiptRejected::Signature { .. })));
            }
        }
        let receipt = inclusion(&signer, 4, 9, &leaves);
        assert_eq!(receipt.issuer(), Some(ISSUER));
        assert_eq!(receipt.key_id(), Some(key.key_id().as_ref()));
        assert!(receipt.verify_inclusion(&leaves[4], p256().verifier()).is_err());
    }
}

#[test]
fn receipts_of_consistency_verify_for_all_pairs_of_sizes_and_from_no_other_root() {
    let leaves = naive::leaves(20);
    let signer = ed25519();
    for new in 2..=20 {
        for old in 1..new {
            let receipt = Receipt::parse(&consistency(&signer, old, new, &leaves).to_bytes()).unwrap();
            let old_head = head(old, &leaves);
            assert_eq!(receipt.verify_consistency(&old_head, signer.verifier()).unwrap(), head(new, &leaves).root);
            let forged = TreeHead { root: Hash::digest(b"another"), ..old_head };
            assert!(receipt.verify_consistency(&forged, signer.verifier()).is_err());
            let smaller = TreeHead { tree_size: old_head.tree_size - 1, ..old_head };
            assert!(receipt.verify_consistency(&smaller, signer.verifier()).is_err());
        }
    }
}

#[test]
fn one_kind_of_receipt_does_not_pass_for_the_other() {
    let leaves = naive::leaves(6);
    let signer = ed25519();
    let refused = inclusion(&signer, 2, 6, &leaves).verify_consistency(&head(2, &leaves), signer.verifier());
    assert!(matches!(refused, Err(ReceiptRejected::Kind { .. })));
    let refused = consistency(&signer, 2, 6, &leaves).verify_inclusion(&leaves[2], signer.verifier());
    assert!(matches!(refused, Err(ReceiptRejected::Kind { .. })));
}

#[test]
fn nothing_is_issued_without_hashes_or_against_the_proof() {
    let leaves = naive::leaves(6);
    let signer = ed25519();
    let issue = |index, size, path| {
        Receipt::issue_inclusion(&signer, ISSUER, &leaves[0], index, &head(size, &leaves), InclusionProof::new(path))
    };
    assert!(matches!(issue(0, 1, Vec::new()), Err(ReceiptNotIssued::NoHashes)));
    assert!(issue(0, 6, naive::path(0, &leaves)).is_ok());
    assert!(matches!(issue(1, 6, naive::path(0, &leaves)), Err(ReceiptNotIssued::Inclusion { .. })));
    let same = head(6, &leaves);
    let refused = Receipt::issue_consistency(&signer, ISSUER, &same, &same, ConsistencyProof::default());
    assert!(matches!(refused, Err(ReceiptNotIssued::NoHashes)));
    let wrong = ConsistencyProof::new(naive::proof(3, &leaves));
    let refused = Receipt::issue_consistency(&signer, ISSUER, &head(4, &leaves), &same, wrong);
    assert!(matches!(refused, Err(ReceiptNotIssued::Consistency { .. })));
}

#[test]
fn a_receipt_has_the_bytes_of_the_specification() {
    // The same bytes stand in docs/spec/receipts.md.
    let leaves = naive::leaves(3);
    let bytes = inclusion(&ed25519(), 2, 3, &leaves).to_bytes();
    let kid = ed25519().verifier().key_id().to_string();
    let protected = format!("a40127045820{kid}0fa10177{}19018b01", hex::encode(ISSUER));
    let proof = format!("830302815820{}", naive::root(&leaves[..2]));
    let unsigned = format!("d2845845{protected}a119018ca120815826{proof}f65840");
    let text = hex::encode(&bytes);
    assert_eq!(&text[..unsigned.len()], unsigned);
    assert_eq!(bytes.len(), unsigned.len() / 2 + 64);
    let signature = "072d7c50efdbc6df478fb38085fe06fc455d8c3a2691e7f9b104a88779f1ba90\
                     d339a316b90c7683da487af9221706c160fbc906e28308e907887a4783bda30e";
    assert_eq!(&text[unsigned.len()..], signature);
}

/// Replaces the first occurrence of `from` in the receipt's hexadecimal.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Result<Receipt, MalformedReceipt> {
    let text = hex::encode(bytes);
    assert!(text.contains(from), "{text} has no {from}");
    Receipt::parse(&hex::decode(text.replacen(from, to, 1)).unwrap())
}

#[test]
fn what_is_not_exactly_a_receipt_is_malformed() {
    let leaves = naive::leaves(3);
    let bytes = inclusion(&ed25519(), 2, 3, &leaves).to_bytes();
    assert!(matches!(replaced(&bytes, "d284", "d184"), Err(MalformedReceipt::Tag { found: 17 })));
    assert!(matches!(replaced(&bytes, "d284", "d285"), Err(MalformedReceipt::Items { found: 5, .. })));
    assert!(matches!(replaced(&bytes, "f65840", "405840"), Err(MalformedReceipt::Attached)));
    assert!(matches!(replaced(&bytes, "a40127", "a40129"), Err(MalformedReceipt::Algorithm { found: Some(-10) })));
    assert!(matches!(replaced(&bytes, "19018b01", "19018b02"), Err(MalformedReceipt::Vds { found: Some(2) })));
    assert!(matches!(replaced(&bytes, "a119018ca1", "a119018da1"), Err(MalformedReceipt::Proofs { found: 0 })));
    // A label of the protected headers again in the unprotected ones.
    assert!(matches!(replaced(&bytes, "a119018ca1", "a119018ba1"), Err(MalformedReceipt::DuplicateLabel)));
    // An integer longer than it need be.
    assert!(matches!(replaced(&bytes, "a40127", "a4180127"), Err(MalformedReceipt::Cbor { .. })));
    assert!(matches!(replaced(&bytes, "8303028158", "8303028058"), Err(MalformedReceipt::Hashes { found: 0 })));
    let long = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(
        Receipt::parse(&long),
        Err(MalformedReceipt::Cbor { source: MalformedCbor::Trailing { count: 1 }, .. })
    ));
    for end in 0..bytes.len() {
        assert!(Receipt::parse(&bytes[..end]).is_err(), "{end}");
    }
    assert!(matches!(Receipt::parse(&[0; RECEIPT_BYTES_MAX + 1]), Err(MalformedReceipt::TooLong { .. })));
}

#[test]
fn headers_of_others_are_passed_over_unless_they_are_critical() {
    let protected = |extra: &str, count: u8| {
        let kept = format!("0127{extra}19018b01");
        format!("a{count}{kept}")
    };
    let receipt = |protected: &str| {
        let proof = format!("830302815820{}", "ab".repeat(32));
        let protected = format!("{:02x}{protected}", 0x40 + protected.len() / 2);
        let text = format!("d284{protected}a2616100 19018ca120815826{proof}f65840{}", "00".repeat(64));
        Receipt::parse(&hex::decode(text.replace(' ', "")).unwrap())
    };
    assert!(receipt(&protected("", 2)).is_ok());
    assert!(receipt(&protected("6178a1018102", 3)).is_ok());
    // crit: [395] is understood, crit: [-65537] and crit: ["x"] are not.
    assert!(receipt(&protected("028119018b", 3)).is_ok());
    assert_eq!(receipt(&protected("02813a00010000", 3)), Err(MalformedReceipt::Critical));
    assert_eq!(receipt(&protected("02816178", 3)), Err(MalformedReceipt::Critical));
}

#[test]
fn a_thumbprint_is_that_of_rfc_9679() {
    // RFC 9679 §6: the example key and its thumbprint.
    let x = "65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d";
    let y = "1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c";
    let spki = format!("3059301306072a8648ce3d020106082a8648ce3d03010703420004{x}{y}");
    let key = PKey::public_key_from_der(&hex::decode(spki).unwrap()).unwrap();
    let verifier = ReceiptVerifier::from_pem(&key.public_key_to_pem().unwrap()).unwrap();
    assert_eq!(verifier.key_id().to_string(), "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec");
}

#[test]
fn keys_of_other_kinds_are_refused_and_none_is_shown() {
    let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(1024).unwrap()).unwrap();
    assert!(matches!(ReceiptSigner::new(rsa), Err(MalformedReceiptKey::Kind)));
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let p384 = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    assert!(matches!(ReceiptSigner::new(p384), Err(MalformedReceiptKey::Kind)));
    let shown = format!("{:?}", ed25519());
    assert!(!shown.contains(&"07".repeat(8)));
}

#[test]
fn a_key_whose_halves_do_not_belong_together_is_refused() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let (own, other) = (EcKey::generate(&group).unwrap(), EcKey::generate(&group).unwrap());
    let mixed = EcKey::from_private_components(&group, own.private_key(), other.public_key()).unwrap();
    let refused = ReceiptSigner::new(PKey::from_ec_key(mixed).unwrap());
    assert!(matches!(refused, Err(MalformedReceiptKey::Mismatch)));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_malformed_or_rejected_or_leaves_the_root(position in 0..4000_usize) {
        let leaves = naive::leaves(11);
        let signer = ed25519();
        let mut bytes = inclusion(&signer, 6, 11, &leaves).to_bytes();
        let bit = position % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(receipt) = Receipt::parse(&bytes)
            && let Ok(root) = receipt.verify_inclusion(&leaves[6], signer.verifier())
        {
            // Index and size are not signed, but no other root can come out.
            prop_assert_eq!(root, head(11, &leaves).root);
        }
    }
}
