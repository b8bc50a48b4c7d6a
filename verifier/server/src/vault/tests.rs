#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn id(text: &str) -> AgentId {
    text.parse().unwrap()
}

#[test]
fn a_sealed_secret_opens_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open_or_create(folder.path()).unwrap();
    let sealed = vault.seal(&id("a"), Purpose::ShareV, b"share").unwrap();
    drop(vault);
    let vault = Vault::open_or_create(folder.path()).unwrap();
    assert_eq!(vault.open(&id("a"), Purpose::ShareV, &sealed).unwrap().as_slice(), b"share");
}

#[test]
fn a_sealed_secret_opens_for_nobody_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open_or_create(folder.path()).unwrap();
    let sealed = vault.seal(&id("a"), Purpose::ShareV, b"share").unwrap();
    assert!(vault.open(&id("b"), Purpose::ShareV, &sealed).is_err());
    assert!(vault.open(&id("a"), Purpose::RevocationKey, &sealed).is_err());
    for text in ["", "AAAA", "!", &"A".repeat(64)] {
        assert!(vault.open(&id("a"), Purpose::ShareV, &Sealed(text.to_owned())).is_err());
    }
    let other = tempfile::tempdir().unwrap();
    assert!(Vault::open_or_create(other.path()).unwrap().open(&id("a"), Purpose::ShareV, &sealed).is_err());
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Vault::open_or_create(folder.path()).unwrap());
    let path = folder.path().join("secret.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Vault::open_or_create(folder.path()), Err(VaultError::Read(_))));
}

#[test]
fn a_key_file_of_another_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    secret_file::write(&folder.path().join("secret.key"), b"short").unwrap();
    assert!(matches!(Vault::open_or_create(folder.path()), Err(VaultError::KeyLength { found: 5 })));
}

#[test]
fn a_sealed_secret_does_not_show_in_debug_output() {
    assert_eq!(format!("{:?}", Sealed("c2VjcmV0".to_owned())), "Sealed(…)");
}
