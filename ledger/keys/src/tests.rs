#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn made(folder: &Path, kind: KeyType) -> KeyFiles {
    let files = KeyFiles::new(folder, "log");
    let key = kind.generate().unwrap();
    files.write_private(&key).unwrap();
    let signer = NoteSigner::new(KeyName::new("log.example").unwrap(), key).unwrap();
    fs::write(folder.join(files.public_name()), public_line(signer.verifier())).unwrap();
    files
}

#[test]
fn a_key_is_read_back_and_its_file_is_its_owners() {
    for kind in [KeyType::Ed25519, KeyType::P256] {
        let folder = tempfile::tempdir().unwrap();
        let files = made(folder.path(), kind);
        assert!(files.exist());
        assert_eq!(files.signer().unwrap().verifier().to_string(), files.verifier().unwrap().to_string());
        let private = folder.path().join("log.key");
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&private, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(files.signer(), Err(KeyFileError::Read(secret_file::ReadError::Exposed { .. }))));
    }
}

#[test]
fn sides_of_different_keys_are_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = made(folder.path(), KeyType::P256);
    made(other.path(), KeyType::P256);
    fs::copy(other.path().join("log.vkey"), folder.path().join("log.vkey")).unwrap();
    assert!(matches!(files.signer(), Err(KeyFileError::Mismatch { .. })));
}

#[test]
fn a_logs_p256_key_does_not_cosign() {
    let folder = tempfile::tempdir().unwrap();
    let files = made(folder.path(), KeyType::P256);
    assert!(matches!(files.cosigner(), Err(KeyFileError::MalformedKey { .. })));
}

#[test]
fn an_ml_dsa_key_is_made_where_openssl_can_and_refused_with_the_reason_where_not() {
    match KeyType::MlDsa44.generate() {
        Ok(key) => {
            assert!(ml_dsa_is_available());
            Cosigner::new(KeyName::new("log.example").unwrap(), key).unwrap();
        }
        Err(error) => {
            assert!(!ml_dsa_is_available());
            assert!(error.to_string().contains("OpenSSL 3.5"), "{error}");
        }
    }
}

#[test]
fn names_of_key_types_read_as_they_show() {
    for kind in [KeyType::Ed25519, KeyType::P256, KeyType::MlDsa44] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("rsa".parse::<KeyType>().is_err());
}
