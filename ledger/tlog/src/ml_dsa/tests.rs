#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use super::*;
use crate::checkpoint::CheckpointRejected;
use crate::key::NoteVerifier;
use crate::note::{Note, NoteRejected, NoteSignature};
use crate::policy::WitnessQuorum;
use crate::signer::{Cosigner, NoteSigner};

const TEXT: &str = "log.example/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

/// A checkpoint signed by a log and with a line of `witness` that nobody has signed.
fn note(witness: &NoteVerifier, log: &NoteSigner) -> Note {
    let mut note = Note::new(TEXT.to_owned()).unwrap();
    note.sign(log).unwrap();
    let mut signature = 1_700_000_000_u64.to_be_bytes().to_vec();
    signature.resize(8 + SIGNATURE_BYTES, 7);
    note.add_signatures([NoteSignature { name: witness.name().clone(), key_id: witness.id(), signature }]);
    note
}

/// Says past the harness, which would keep it to itself, that openssl is too old.
fn available() -> bool {
    let available = ml_dsa_is_available();
    if !available {
        let skipped = format!("SKIPPED: {} has no ML-DSA\n", openssl::version::version());
        std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
    }
    available
}

#[test]
fn the_message_is_the_bytes_of_the_specification() {
    let message = message(&name("w.example"), PosixSeconds(0x0102_0304_0506_0708), TEXT).unwrap();
    let root = hex::decode("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").unwrap();
    let expected = [
        b"subtree/v1\n\0\x09w.example\x01\x02\x03\x04\x05\x06\x07\x08\x0dlog.example/1".as_slice(),
        &[0; 8],
        &[0; 8],
        &root,
    ]
    .concat();
    assert_eq!(message, expected);
}

#[test]
fn extension_lines_are_not_in_the_message_and_other_texts_have_none() {
    let plain = message(&name("w"), PosixSeconds(1), TEXT).unwrap();
    assert_eq!(message(&name("w"), PosixSeconds(1), &format!("{TEXT}extension\n")).unwrap(), plain);
    assert_eq!(message(&name("w"), PosixSeconds(1), "no checkpoint\n"), None);
    assert_eq!(message(&name(&"w".repeat(256)), PosixSeconds(1), TEXT), None);
}

#[test]
fn a_key_of_another_length_is_malformed() {
    assert!(NoteVerifier::cosignature_ml_dsa_44(name("w"), &[7; PUBLIC_BYTES]).is_ok());
    assert!(NoteVerifier::cosignature_ml_dsa_44(name("w"), &[7; PUBLIC_BYTES - 1]).is_err());
}

#[test]
fn a_line_that_nobody_signed_is_forged_or_not_verifiable_and_never_counts() {
    let witness = NoteVerifier::cosignature_ml_dsa_44(name("w.example"), &[7; PUBLIC_BYTES]).unwrap();
    let log = NoteSigner::from_seed(name("log.example/1"), &[1; 32]).unwrap();
    let bytes = note(&witness, &log).to_bytes();
    assert_eq!(Note::parse(&bytes).unwrap().to_bytes(), bytes, "carried as it came");
    let opened = Checkpoint::open(&bytes, "log.example/1", log.verifier(), std::slice::from_ref(&witness));
    if witness.is_verifiable() {
        let forged = CheckpointRejected::Signature {
            source: NoteRejected::Forged { name: witness.name().clone(), key_id: witness.id() },
        };
        assert_eq!(opened.unwrap_err(), forged);
        return;
    }
    let opened = opened.unwrap();
    assert!(opened.note().has_unverifiable(&witness) && !opened.note().is_signed_by(&witness));
    let missed = WitnessQuorum::of(1, vec![witness.clone()]).unwrap().check(&opened).unwrap_err();
    assert_eq!((missed.cosigned, missed.known, missed.unverifiable), (0, 1, 1));
    assert!(missed.to_string().contains("not verifiable here"), "{missed}");
    let alone = Note::parse(&bytes).unwrap().verify(std::slice::from_ref(&witness)).unwrap_err();
    assert!(matches!(alone, NoteRejected::Unverifiable { .. }), "{alone}");
}

#[test]
fn a_line_of_another_length_is_forged_with_any_openssl() {
    let witness = NoteVerifier::cosignature_ml_dsa_44(name("w.example"), &[7; PUBLIC_BYTES]).unwrap();
    let mut note = Note::new(TEXT.to_owned()).unwrap();
    note.add_signatures([NoteSignature { name: name("w.example"), key_id: witness.id(), signature: vec![7; 72] }]);
    assert!(matches!(note.verify(&[witness]), Err(NoteRejected::Forged { .. })));
}

#[test]
fn a_cosignature_verifies_and_no_altered_one_does() {
    if !available() {
        return;
    }
    let cosigner = Cosigner::new(name("w.example"), ml_dsa_from_seed(&[9; 32]).unwrap()).unwrap();
    let witness = cosigner.verifier().clone();
    let log = NoteSigner::from_seed(name("log.example/1"), &[1; 32]).unwrap();
    let mut note = Note::new(TEXT.to_owned()).unwrap();
    note.sign(&log).unwrap();
    note.cosign(&cosigner, PosixSeconds(1_700_000_000)).unwrap();
    let bytes = note.to_bytes();
    let open = |bytes: &[u8]| Checkpoint::open(bytes, "log.example/1", log.verifier(), std::slice::from_ref(&witness));
    let opened = open(&bytes).unwrap();
    assert_eq!(opened.cosignatures().map(|cosignature| cosignature.time.0).collect::<Vec<_>>(), [1_700_000_000]);
    WitnessQuorum::of(1, vec![witness.clone()]).unwrap().check(&opened).unwrap();
    // Time, first and last byte of the signature.
    for position in [7, 8, 8 + SIGNATURE_BYTES - 1] {
        let mut altered = Note::new(TEXT.to_owned()).unwrap();
        altered.sign(&log).unwrap();
        let mut line = note.signatures()[1].clone();
        line.signature[position] ^= 1;
        altered.add_signatures([line]);
        assert!(open(&altered.to_bytes()).is_err(), "byte {position}");
    }
    let other = Cosigner::new(name("other.example"), ml_dsa_from_seed(&[9; 32]).unwrap()).unwrap();
    let mut renamed = Note::new(TEXT.to_owned()).unwrap();
    let (name, key_id) = (name("other.example"), other.verifier().id());
    renamed.add_signatures([NoteSignature { name, key_id, signature: note.signatures()[1].signature.clone() }]);
    assert!(renamed.verify(std::slice::from_ref(other.verifier())).is_err(), "the message names its cosigner");
}

#[test]
fn a_cosignature_of_time_zero_is_genuine_but_no_witness() {
    if !available() {
        return;
    }
    let cosigner = Cosigner::new(name("w.example"), ml_dsa_from_seed(&[9; 32]).unwrap()).unwrap();
    let log = NoteSigner::from_seed(name("log.example/1"), &[1; 32]).unwrap();
    let mut note = Note::new(TEXT.to_owned()).unwrap();
    note.sign(&log).unwrap();
    note.cosign(&cosigner, PosixSeconds(0)).unwrap();
    let witness = cosigner.verifier().clone();
    let opened =
        Checkpoint::open(&note.to_bytes(), "log.example/1", log.verifier(), std::slice::from_ref(&witness)).unwrap();
    assert!(opened.note().is_signed_by(&witness));
    assert!(WitnessQuorum::of(1, vec![witness]).unwrap().check(&opened).is_err());
}

#[test]
fn a_pem_key_is_its_seeds() {
    if !available() {
        return;
    }
    let key = ml_dsa_from_seed(&[9; 32]).unwrap();
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    let again = Cosigner::from_pem(name("w.example"), &pem).unwrap();
    let first = Cosigner::new(name("w.example"), key).unwrap();
    assert_eq!(again.verifier().to_string(), first.verifier().to_string());
    assert!(again.verifier().to_string().parse::<NoteVerifier>().unwrap().is_verifiable());
}
