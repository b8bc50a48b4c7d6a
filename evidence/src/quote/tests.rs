#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_softtpm::{AttestFields, Curve, Hash, KeyKind, Scheme, SoftAk, SoftEk, SoftQuote, SoftTpm, shared};
use proptest::prelude::*;

use super::*;
use crate::testing;

const NONCE: &[u8] = b"a nonce of this round";
const MASK: u32 = 0x0001_0487;

/// Asks for `mask` of SHA-256 with `NONCE` and judges `quote` with the values beside it.
fn judge(tpm: &SoftTpm, quote: &SoftQuote, mask: u32) -> Result<AuthenticQuote, QuoteRejected> {
    judge_values(tpm, quote, mask, &testing::values(quote))
}

fn judge_values(
    tpm: &SoftTpm,
    quote: &SoftQuote,
    mask: u32,
    values: &PcrValues,
) -> Result<AuthenticQuote, QuoteRejected> {
    let selection = testing::selection(Hash::Sha256, mask);
    let expected = Expected { nonce: NONCE, selection: &selection, values };
    Quote::parse(&quote.attest, &quote.signature).unwrap().verify(&testing::ak(&tpm.ak), &expected)
}

/// A TPM whose registers all differ.
fn tpm(kind: KeyKind) -> SoftTpm {
    let mut tpm = SoftTpm::new(kind, 0);
    for index in 0..24 {
        tpm.measure(index, &[index]);
    }
    tpm
}

fn with_ak(kind: KeyKind, scheme: Scheme, hash: Hash) -> SoftTpm {
    let ak = SoftAk::new(shared(kind, 1), hash).with_scheme(scheme);
    SoftTpm::with_keys(SoftEk::new(shared(KeyKind::P256, 0)), ak)
}

#[test]
fn honest_quotes_of_every_scheme_hash_and_size_are_authentic() {
    let mut kinds = Vec::new();
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        kinds.extend([(KeyKind::RSA_2048, Scheme::RsaSsa, hash), (KeyKind::RSA_2048, Scheme::RsaPss, hash)]);
        kinds.extend([(KeyKind::P256, Scheme::Ecdsa, hash), (KeyKind::P384, Scheme::Ecdsa, hash)]);
    }
    kinds.extend([
        (KeyKind::Rsa(3072), Scheme::RsaSsa, Hash::Sha256),
        (KeyKind::Rsa(4096), Scheme::RsaPss, Hash::Sha512),
    ]);
    for (kind, scheme, hash) in kinds {
        let mut tpm = with_ak(kind, scheme, hash);
        let quote = tpm.quote(NONCE, Hash::Sha256, MASK);
        let authentic =
            judge(&tpm, &quote, MASK).unwrap_or_else(|error| panic!("{kind:?} {scheme:?} {hash:?}: {error}"));
        assert_eq!(authentic.values(), &testing::values(&quote));
        assert_eq!(authentic.selection().mask(), MASK);
        assert_eq!(authentic.nonce(), NONCE);
        assert_eq!(authentic.clock_info().clock_ms, tpm.clock.clock_ms);
        assert_eq!(authentic.firmware_version(), tpm.firmware_version);

        let mut other_hash = tpm.ak.clone();
        other_hash.hash = if hash == Hash::Sha256 { Hash::Sha512 } else { Hash::Sha256 };
        let signature = other_hash.sign(&quote.attest);
        let relabelled = SoftQuote { signature, ..quote };
        assert!(matches!(
            judge(&tpm, &relabelled, MASK),
            Err(QuoteRejected::PcrDigest { .. } | QuoteRejected::Scheme { .. })
        ));
    }
}

#[test]
fn quotes_over_every_bank_are_authentic_except_sha1() {
    let mut tpm = tpm(KeyKind::P256);
    for bank in [Hash::Sha256, Hash::Sha384, Hash::Sha512, Hash::Sha1] {
        let quote = tpm.quote(NONCE, bank, MASK);
        let (selection, values) = (testing::selection(bank, MASK), testing::values(&quote));
        let expected = Expected { nonce: NONCE, selection: &selection, values: &values };
        let judged = Quote::parse(&quote.attest, &quote.signature).unwrap().verify(&testing::ak(&tpm.ak), &expected);
        match bank {
            Hash::Sha1 => assert!(matches!(judged, Err(QuoteRejected::WeakBank { .. })), "{judged:?}"),
            _ => assert!(judged.is_ok(), "{judged:?}"),
        }
    }
}

type Forge = fn(&mut AttestFields);
type Reason = fn(&Result<AuthenticQuote, QuoteRejected>) -> bool;

/// Each field of a signed quote, changed by somebody without the key; the reason it is refused for.
const FORGERIES: [(&str, Forge, Reason); 9] = [
    ("qualifiedSigner", |f| f.qualified_signer[5] ^= 1, |r| matches!(r, Err(QuoteRejected::Signature))),
    ("extraData", |f| f.extra_data = b"other".to_vec(), |r| matches!(r, Err(QuoteRejected::Nonce { .. }))),
    ("clock", |f| f.clock += 1, |r| matches!(r, Err(QuoteRejected::Signature))),
    ("resetCount", |f| f.reset_count += 1, |r| matches!(r, Err(QuoteRejected::Signature))),
    ("restartCount", |f| f.restart_count += 1, |r| matches!(r, Err(QuoteRejected::Signature))),
    ("safe", |f| f.safe = 0, |r| matches!(r, Err(QuoteRejected::Signature))),
    ("firmwareVersion", |f| f.firmware_version += 1, |r| matches!(r, Err(QuoteRejected::Signature))),
    ("pcrSelect", |f| f.selections[0].1[0] ^= 1, |r| matches!(r, Err(QuoteRejected::Selection { .. }))),
    ("pcrDigest", |f| f.pcr_digest[0] ^= 1, |r| matches!(r, Err(QuoteRejected::PcrDigest { .. }))),
];

#[test]
fn a_quote_with_any_one_field_changed_is_rejected() {
    for kind in [KeyKind::RSA_2048, KeyKind::P256] {
        let mut tpm = tpm(kind);
        let fields = tpm.attest(NONCE, Hash::Sha256, MASK);
        let honest = tpm.sign_quote(&fields, Hash::Sha256, MASK);
        assert!(judge(&tpm, &honest, MASK).is_ok());
        for (field, forge, reason) in FORGERIES {
            let mut forged = fields.clone();
            forge(&mut forged);
            let quote = SoftQuote { attest: forged.encode(), ..honest.clone() };
            let judged = judge(&tpm, &quote, MASK);
            assert!(reason(&judged), "{field}: {judged:?}");
        }
    }
}

#[test]
fn a_quote_of_other_magic_or_type_is_malformed() {
    let mut tpm = tpm(KeyKind::P256);
    let fields = tpm.attest(NONCE, Hash::Sha256, MASK);
    let signature = tpm.ak.sign(b"whatever");
    let magic = AttestFields { magic: 0xff54_4348, ..fields.clone() }.encode();
    assert!(matches!(
        Quote::parse(&magic, &signature),
        Err(MalformedQuote::Attest(MalformedStructure::Value { field: "magic", .. }))
    ));
    let kind = AttestFields { kind: 0x8019, ..fields.clone() }.encode();
    assert!(matches!(
        Quote::parse(&kind, &signature),
        Err(MalformedQuote::Attest(MalformedStructure::Value { field: "type", .. }))
    ));
    let name = tpm.ak.name();
    let certify = AttestFields { kind: 0x8017, ..fields }.encode_certify(&name, &name);
    assert_eq!(Quote::parse(&certify, &signature), Err(MalformedQuote::NotAQuote));
}

#[test]
fn every_flipped_bit_is_malformed_or_rejected() {
    for kind in [KeyKind::RSA_2048, KeyKind::P256] {
        let mut tpm = tpm(kind);
        let quote = tpm.quote(NONCE, Hash::Sha256, MASK);
        let (selection, values, ak) =
            (testing::selection(Hash::Sha256, MASK), testing::values(&quote), testing::ak(&tpm.ak));
        let expected = Expected { nonce: NONCE, selection: &selection, values: &values };
        let passes = |attest: &[u8], signature: &[u8]| {
            Quote::parse(attest, signature).is_ok_and(|quote| quote.verify(&ak, &expected).is_ok())
        };
        assert!(passes(&quote.attest, &quote.signature));
        for bit in 0..quote.attest.len() * 8 {
            let mut attest = quote.attest.clone();
            attest[bit / 8] ^= 1 << (bit % 8);
            assert!(!passes(&attest, &quote.signature), "{kind:?}: bit {bit} of the attestation");
        }
        for bit in 0..quote.signature.len() * 8 {
            let mut signature = quote.signature.clone();
            signature[bit / 8] ^= 1 << (bit % 8);
            assert!(!passes(&quote.attest, &signature), "{kind:?}: bit {bit} of the signature");
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_malformed() {
    let quote = tpm(KeyKind::P256).quote(NONCE, Hash::Sha256, MASK);
    for length in 0..quote.attest.len() {
        assert!(matches!(Quote::parse(&quote.attest[..length], &quote.signature), Err(MalformedQuote::Attest(_))));
    }
    for length in 0..quote.signature.len() {
        assert!(matches!(Quote::parse(&quote.attest, &quote.signature[..length]), Err(MalformedQuote::Signature(_))));
    }
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    assert!(matches!(Quote::parse(&longer(&quote.attest), &quote.signature), Err(MalformedQuote::Attest(_))));
    assert!(matches!(Quote::parse(&quote.attest, &longer(&quote.signature)), Err(MalformedQuote::Signature(_))));
}

#[test]
fn an_older_nonce_a_prefix_and_no_nonce_are_rejected() {
    let mut tpm = tpm(KeyKind::P256);
    for nonce in [&b"the nonce of last round"[..], &NONCE[..NONCE.len() - 1], b"", b"A nonce of this round"] {
        let judged = judge(&tpm.clone(), &tpm.quote(nonce, Hash::Sha256, MASK), MASK);
        assert!(matches!(judged, Err(QuoteRejected::Nonce { .. })), "{judged:?}");
    }
}

/// Selections that differ by one register, by position, by size and by everything.
const MASKS: [u32; 8] = [0x1, 0x2, 0x3, 0x400, 0x8000, 0x0001_0000, 0x0081_0001, 0x00ff_ffff];

#[test]
fn registers_labelled_as_others_are_rejected_for_every_pair_of_selections() {
    let mut tpm = tpm(KeyKind::P256);
    for signed in MASKS {
        for asked in MASKS {
            let quote = tpm.quote(NONCE, Hash::Sha256, signed);
            // The values signed, handed in under the numbers asked for.
            let numbers = (0..24).filter(|index| asked & 1 << index != 0);
            let pairs: Vec<_> = numbers.zip(quote.values.iter().map(|(_, value)| value.clone())).collect();
            let judged = judge_values(&tpm, &quote, asked, &testing::labelled(Hash::Sha256, &pairs));
            if signed == asked {
                assert!(judged.is_ok(), "{signed:#x}: {judged:?}");
            } else {
                assert!(
                    matches!(judged, Err(QuoteRejected::Selection { .. })),
                    "{signed:#x} as {asked:#x}: {judged:?}"
                );
            }
        }
    }
}

#[test]
fn a_selection_changed_to_the_one_asked_for_fails_even_when_the_digest_fits() {
    // PCRs 8 and 9 of a fresh TPM are both zero, so that the digest over either is the same.
    let mut tpm = SoftTpm::new(KeyKind::P256, 0);
    let fields = tpm.attest(NONCE, Hash::Sha256, 1 << 8);
    let signature = tpm.ak.sign(&fields.encode());
    let forged = AttestFields { selections: vec![(Hash::Sha256.id(), vec![0, 2, 0])], ..fields };
    let values = vec![(9, tpm.read(Hash::Sha256, 9).to_vec())];
    let quote = SoftQuote { attest: forged.encode(), signature, bank: Hash::Sha256, values };
    let judged = judge(&tpm, &quote, 1 << 9);
    assert!(matches!(judged, Err(QuoteRejected::Signature)), "{judged:?}");
}

#[test]
fn an_empty_selection_is_rejected_on_either_side() {
    let mut tpm = tpm(KeyKind::P256);
    let empty = tpm.quote(NONCE, Hash::Sha256, 0);
    let judged = judge(&tpm, &empty, 0);
    assert!(matches!(judged, Err(QuoteRejected::EmptySelection)), "{judged:?}");
    let judged = judge(&tpm, &empty, MASK);
    assert!(matches!(judged, Err(QuoteRejected::Selection { .. })), "{judged:?}");
}

#[test]
fn no_bank_two_banks_in_either_order_and_one_bank_twice_are_rejected() {
    let mut tpm = tpm(KeyKind::P256);
    let fields = tpm.attest(NONCE, Hash::Sha256, MASK);
    let (sha256, sha1) = (fields.selections[0].clone(), (Hash::Sha1.id(), vec![1, 0, 0]));
    let lists = [vec![], vec![sha256.clone(), sha1.clone()], vec![sha1, sha256.clone()], vec![sha256.clone(), sha256]];
    for selections in lists {
        let signed = AttestFields { selections, ..fields.clone() };
        let judged = judge(&tpm, &tpm.sign_quote(&signed, Hash::Sha256, MASK), MASK);
        assert!(matches!(judged, Err(QuoteRejected::SelectionCount { .. })), "{judged:?}");
    }
}

#[test]
fn the_same_registers_of_another_bank_are_rejected() {
    let mut tpm = tpm(KeyKind::P256);
    let quote = tpm.quote(NONCE, Hash::Sha384, MASK);
    let values = testing::values(&tpm.quote(NONCE, Hash::Sha256, MASK));
    let judged = judge_values(&tpm, &quote, MASK, &values);
    assert!(matches!(judged, Err(QuoteRejected::Bank { .. })), "{judged:?}");
}

#[test]
fn values_of_another_bank_missing_additional_swapped_or_changed_are_rejected() {
    let mut tpm = tpm(KeyKind::P256);
    let quote = tpm.quote(NONCE, Hash::Sha256, MASK);
    let judge = |pairs: &[(u8, Vec<u8>)]| judge_values(&tpm, &quote, MASK, &testing::labelled(Hash::Sha256, pairs));
    assert!(judge(&quote.values).is_ok());

    for position in 0..quote.values.len() {
        let mut pairs = quote.values.clone();
        let (number, _) = pairs.remove(position);
        let judged = judge(&pairs);
        let missing = matches!(judged, Err(QuoteRejected::PcrMissing { index, .. }) if index.get() == number);
        assert!(missing, "{judged:?}");

        let mut pairs = quote.values.clone();
        pairs[position].1[31] ^= 1;
        assert!(matches!(judge(&pairs), Err(QuoteRejected::PcrDigest { .. })));
    }
    let mut more = quote.values.clone();
    more.push((23, vec![0; 32]));
    assert!(matches!(judge(&more), Err(QuoteRejected::PcrUnexpected { index, .. }) if index.get() == 23));

    let mut swapped = quote.values.clone();
    let first = swapped[0].1.clone();
    swapped[0].1 = std::mem::replace(&mut swapped[1].1, first);
    assert!(matches!(judge(&swapped), Err(QuoteRejected::PcrDigest { .. })));

    let other_bank = testing::values(&tpm.clone().quote(NONCE, Hash::Sha384, MASK));
    let judged = judge_values(&tpm, &quote, MASK, &other_bank);
    assert!(matches!(judged, Err(QuoteRejected::ValuesBank { .. })), "{judged:?}");
}

#[test]
fn another_key_of_the_same_kind_is_rejected() {
    for kind in [KeyKind::RSA_2048, KeyKind::P256, KeyKind::Ecc(Curve::P384)] {
        let quote = tpm(kind).quote(NONCE, Hash::Sha256, MASK);
        let other = SoftTpm::new(kind, 1);
        let judged = judge(&other, &quote, MASK);
        assert!(matches!(judged, Err(QuoteRejected::Signature)), "{judged:?}");
    }
}

#[test]
fn a_signature_of_another_scheme_hash_or_key_kind_is_rejected() {
    let rsa = tpm(KeyKind::RSA_2048).quote(NONCE, Hash::Sha256, MASK);
    let ecc = tpm(KeyKind::P256).quote(NONCE, Hash::Sha256, MASK);
    let pss = with_ak(KeyKind::RSA_2048, Scheme::RsaPss, Hash::Sha256);
    let sha512 = with_ak(KeyKind::RSA_2048, Scheme::RsaSsa, Hash::Sha512);
    for (tpm, quote) in [(pss, &rsa), (sha512, &rsa), (tpm(KeyKind::P256), &rsa), (tpm(KeyKind::RSA_2048), &ecc)] {
        let judged = judge(&tpm, quote, MASK);
        assert!(matches!(judged, Err(QuoteRejected::Scheme { .. })), "{judged:?}");
    }
}

#[test]
fn a_sha1_signature_is_rejected_for_its_hash() {
    let mut weak = with_ak(KeyKind::RSA_2048, Scheme::RsaSsa, Hash::Sha1);
    let quote = weak.quote(NONCE, Hash::Sha256, MASK);
    let judged = judge(&with_ak(KeyKind::RSA_2048, Scheme::RsaSsa, Hash::Sha256), &quote, MASK);
    assert!(matches!(judged, Err(QuoteRejected::WeakHash { found: HashAlgorithm::Sha1 })), "{judged:?}");
}

#[test]
fn a_signature_of_a_key_of_another_size_is_rejected_for_its_size() {
    let quote = with_ak(KeyKind::Rsa(3072), Scheme::RsaSsa, Hash::Sha256).quote(NONCE, Hash::Sha256, MASK);
    let judged = judge(&tpm(KeyKind::RSA_2048), &quote, MASK);
    assert!(matches!(judged, Err(QuoteRejected::SignatureSize { expected: 256, found: 384 })), "{judged:?}");
    let quote = tpm(KeyKind::P384).quote(NONCE, Hash::Sha256, MASK);
    let judged = judge(&tpm(KeyKind::P256), &quote, MASK);
    assert!(matches!(judged, Err(QuoteRejected::SignatureSize { expected: 32, found: 48 })), "{judged:?}");
}

#[test]
fn the_signature_alone_can_be_checked() {
    let mut tpm = tpm(KeyKind::P256);
    let soft = tpm.quote(b"long ago", Hash::Sha256, MASK);
    let quote = Quote::parse(&soft.attest, &soft.signature).unwrap();
    assert!(quote.verify_signature(&testing::ak(&tpm.ak)).is_ok());
    let other = testing::ak(&SoftTpm::new(KeyKind::P256, 1).ak);
    assert!(matches!(quote.verify_signature(&other), Err(QuoteRejected::Signature)));
}

#[test]
fn the_qualified_signer_is_the_ak_under_the_ek() {
    for kind in [KeyKind::RSA_2048, KeyKind::P384] {
        let mut tpm = tpm(kind);
        let soft = tpm.quote(NONCE, Hash::Sha256, MASK);
        let quote = Quote::parse(&soft.attest, &soft.signature).unwrap();
        let ek = testing::ek(&tpm.ek).name().qualified_primary().unwrap();
        let ak = testing::ak(&tpm.ak);
        assert_eq!(quote.qualified_signer(), &ak.name().qualified_under(&ek).unwrap());
        assert_ne!(quote.qualified_signer(), &ak.name().qualified_primary().unwrap());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(attest in prop::collection::vec(any::<u8>(), 0..300), signature in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Quote::parse(&attest, &signature).is_err());
    }

    #[test]
    fn honest_quotes_of_any_selection_and_nonce_are_authentic(mask in 1_u32..1 << 24, nonce in prop::collection::vec(any::<u8>(), 0..=66)) {
        let mut tpm = SoftTpm::new(KeyKind::P256, 0);
        let soft = tpm.quote(&nonce, Hash::Sha256, mask);
        let (selection, values) = (testing::selection(Hash::Sha256, mask), testing::values(&soft));
        let expected = Expected { nonce: &nonce, selection: &selection, values: &values };
        let quote = Quote::parse(&soft.attest, &soft.signature).unwrap();
        prop_assert!(quote.verify(&testing::ak(&tpm.ak), &expected).is_ok());
    }
}
