#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn signer(seed: u8) -> NoteSigner {
    NoteSigner::from_seed(name(&format!("key{seed}.example")), &[seed; 32]).unwrap()
}

fn signed(text: &str, signers: &[&NoteSigner]) -> Note {
    let mut note = Note::new(text.to_owned()).unwrap();
    for signer in signers {
        note.sign(signer).unwrap();
    }
    note
}

fn stranger(signature: &[u8]) -> NoteSignature {
    NoteSignature {
        name: name("stranger.example"),
        key_id: KeyId::from_bytes([1, 2, 3, 4]),
        signature: signature.to_vec(),
    }
}

#[test]
fn notes_read_back_exactly() {
    let (a, b) = (signer(1), signer(2));
    let note = signed("line\n\n\nafter empty lines\n", &[&a, &b]);
    let bytes = note.to_bytes();
    let read = Note::parse(&bytes).unwrap();
    assert_eq!(read, note);
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.digest(), Hash::digest(&bytes));
    assert_eq!(read.text(), "line\n\n\nafter empty lines\n");
}

#[test]
fn known_signatures_are_found_among_strangers() {
    let (a, b) = (signer(1), signer(2));
    let mut note = Note::new("text\n".to_owned()).unwrap();
    note.add_signatures([stranger(b"whatever")]);
    note.sign(&a).unwrap();
    let known = [b.verifier().clone(), a.verifier().clone()];
    let verified = note.verify(&known).unwrap();
    assert!(verified.is_signed_by(a.verifier()));
    assert!(!verified.is_signed_by(b.verifier()));
    assert_eq!(verified.signatures().len(), 1);
    assert_eq!(verified.note().signatures().len(), 2);
}

#[test]
fn notes_without_a_known_signature_are_refused() {
    let note = signed("text\n", &[&signer(1)]);
    let rejected = note.clone().verify(&[signer(2).verifier().clone()]);
    assert_eq!(rejected, Err(NoteRejected::NoKnownSignature { lines: 1 }));
    assert_eq!(note.verify(&[]), Err(NoteRejected::NoKnownSignature { lines: 1 }));
    let unknown_kind: NoteVerifier = "stranger.example+01020304+BwAB".parse().unwrap();
    let mut note = Note::new("text\n".to_owned()).unwrap();
    note.add_signatures([stranger(b"whatever")]);
    assert_eq!(note.verify(&[unknown_kind]), Err(NoteRejected::NoKnownSignature { lines: 1 }));
}

#[test]
fn one_forged_signature_of_a_known_key_spoils_the_note() {
    let (a, b) = (signer(1), signer(2));
    let other = signed("other\n", &[&b]);
    let mut note = signed("text\n", &[&a]);
    note.add_signatures(other.signatures().to_vec());
    let forged = NoteRejected::Forged { name: name("key2.example"), key_id: b.verifier().id() };
    let both = [a.verifier().clone(), b.verifier().clone()];
    assert_eq!(note.clone().verify(&both), Err(forged));
    note.verify(&[a.verifier().clone()]).unwrap();
}

#[test]
fn a_key_counts_once_and_its_second_line_is_checked_too() {
    let a = signer(1);
    let known = [a.verifier().clone()];
    let twice = signed("text\n", &[&a, &a]);
    assert_eq!(twice.verify(&known).unwrap().signatures().len(), 1);
    let mut spoiled = signed("text\n", &[&a]);
    spoiled.add_signatures(signed("other\n", &[&a]).signatures().to_vec());
    assert!(matches!(spoiled.verify(&known), Err(NoteRejected::Forged { .. })));
}

#[test]
fn two_known_keys_of_one_name_and_id_are_refused() {
    let a = signer(1);
    let twice = [a.verifier().clone(), a.verifier().clone()];
    let rejected = signed("text\n", &[&a]).verify(&twice);
    assert!(matches!(rejected, Err(NoteRejected::Ambiguous { .. })));
}

#[test]
fn cosignatures_carry_their_time() {
    let witness = Cosigner::from_seed(name("w.example"), &[3; 32]).unwrap();
    let mut note = signed("text\n", &[&signer(1)]);
    note.cosign(&witness, PosixSeconds(17)).unwrap();
    let read = Note::parse(&note.to_bytes()).unwrap();
    let verified = read.verify(&[witness.verifier().clone()]).unwrap();
    assert_eq!(verified.signatures().first().unwrap().time, Some(PosixSeconds(17)));
}

#[test]
fn malformed_notes_are_refused_by_kind() {
    let good = String::from_utf8(signed("text\n", &[&signer(1)]).to_bytes()).unwrap();
    Note::parse(good.as_bytes()).unwrap();
    let refused = |note: &str| Note::parse(note.as_bytes()).unwrap_err();
    assert_eq!(refused(""), MalformedNote::NoSignatures);
    assert_eq!(refused("text\n"), MalformedNote::NoSignatures);
    assert_eq!(refused("text\n\n"), MalformedNote::NoSignatures);
    assert_eq!(refused(good.trim_end()), MalformedNote::SignatureEnd);
    assert_eq!(refused(&good.replace('\n', "\r\n")), MalformedNote::Control { found: b'\r', offset: 4 });
    let line = |line, source| MalformedNote::Signature { line, source };
    assert_eq!(refused("text\n\n- a AAAAAAA=\n"), line(1, MalformedSignature::Prefix));
    assert_eq!(refused("text\n\n\u{2014} a\n"), line(1, MalformedSignature::Parts));
    assert_eq!(refused("text\n\n\u{2014} a+b AAAAAAA=\n"), line(1, MalformedSignature::Name));
    assert_eq!(refused("text\n\n\u{2014}  AAAAAAA=\n"), line(1, MalformedSignature::Name));
    let short = MalformedSignature::TooShort { found: 4 };
    assert_eq!(refused("text\n\n\u{2014} a AAAAAA==\n"), line(1, short));
    assert_eq!(refused(&format!("{good}\n")), MalformedNote::NoSignatures);
    assert_eq!(refused(&format!("{good}x\n")), line(2, MalformedSignature::Prefix));
    let base64 = refused("text\n\n\u{2014} a AAAAAAA\n");
    assert!(matches!(base64, MalformedNote::Signature { source: MalformedSignature::Base64 { .. }, .. }));
    let bytes = [b"\xff".as_slice(), good.as_bytes()].concat();
    assert!(matches!(Note::parse(&bytes), Err(MalformedNote::Utf8 { .. })));
    assert_eq!(Note::new("no end".to_owned()), Err(MalformedNote::TextEnd));
}

#[test]
fn oversized_notes_are_refused() {
    let long = "a".repeat(NOTE_BYTES_MAX);
    assert_eq!(Note::new(format!("{long}\n")), Err(MalformedNote::TooLong { found: NOTE_BYTES_MAX + 1 }));
    let many = |count: usize| format!("text\n\n{}", "\u{2014} a AAAAAAA=\n".repeat(count));
    Note::parse(many(NOTE_SIGNATURES_MAX).as_bytes()).unwrap();
    let found = NOTE_SIGNATURES_MAX + 1;
    let refused = Note::parse(many(found).as_bytes());
    assert_eq!(refused, Err(MalformedNote::TooManySignatures { found }));
}

proptest! {
    #[test]
    fn a_signed_note_reads_back_and_any_flipped_bit_is_refused(text in "[^\\x00-\\x1f]{0,30}(\n[^\\x00-\\x1f]{0,30}){0,4}", at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let a = signer(1);
        let known = [a.verifier().clone()];
        let bytes = signed(&format!("{text}\n"), &[&a]).to_bytes();
        let read = Note::parse(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes(), bytes.clone());
        prop_assert!(read.verify(&known).is_ok());
        let mut flipped = bytes;
        let at = at.index(flipped.len());
        *flipped.get_mut(at).unwrap() ^= 1_u8 << bit;
        let believed = Note::parse(&flipped).is_ok_and(|note| note.verify(&known).is_ok());
        prop_assert!(!believed);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_parses_reads_back(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "(.|\n){0,20}\n\n(\u{2014} [a-z+ ]{0,3} [A-Za-z0-9+/]{0,9}={0,2}\n){0,3}",
    ) {
        for bytes in [bytes, text.into_bytes()] {
            if let Ok(note) = Note::parse(&bytes) {
                prop_assert_eq!(note.to_bytes(), bytes);
            }
        }
    }
}
