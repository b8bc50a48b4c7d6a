#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn read(text: &str, mode: u32) -> Result<(Options, Vec<String>), ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.conf");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    Options::read(&path)
}

#[test]
fn a_keylime_file_is_read_and_what_is_unused_is_named() {
    let text = r#"
        [agent]
        version = "2.5"
        uuid = "D432FBB3-D2F1-4A97-9EF7-75BD81C00000"
        ip = "0.0.0.0"
        port = 9102
        contact_ip = "192.0.2.7"
        registrar_ip = "registrar.example"
        trusted_client_ca = "default"
        tpm_signing_alg = "ecdsa"
        tpm_encryption_alg = "ecc384"
        secure_size = "2m"
    "#;
    let (options, unused) = read(text, 0o644).unwrap();
    assert_eq!(unused, ["version"]);
    let config = options.into_config(Some("tabrmd".to_owned())).unwrap();
    assert_eq!(config.agent_id, IdOption::parse("d432fbb3-d2f1-4a97-9ef7-75bd81c00000").unwrap());
    assert_eq!((config.listen.to_string().as_str(), config.contact_host.as_str()), ("0.0.0.0:9102", "192.0.2.7"));
    assert_eq!(config.registrar_url, "http://registrar.example:8890");
    assert_eq!(config.trusted_client_authorities, [PathBuf::from("/var/lib/keylime/cv_ca/cacert.crt")]);
    assert_eq!((config.scheme, config.ek_algorithm), (SignatureScheme::Ecdsa, EkAlgorithm::Ecc384));
    assert_eq!((config.secure_bytes, config.tcti.as_str()), (2 << 20, "tabrmd"));
}

#[test]
fn a_flag_beats_the_file() {
    let (file, _) = read("[agent]\nport = 1\nuuid = \"file\"", 0o644).unwrap();
    let config = Options { port: Some(0), ..Options::default() }.or(file).into_config(None).unwrap();
    assert_eq!((config.listen.port(), config.agent_id), (0, IdOption::parse("file").unwrap()));
}

#[test]
fn a_file_with_a_password_must_be_closed_to_others() {
    let text = "[agent]\ntpm_ownerpassword = \"secret\"";
    assert!(matches!(read(text, 0o644), Err(ConfigError::Exposed { .. })));
    assert!(read(text, 0o600).is_ok());
    assert!(read("[agent]\ntpm_ownerpassword = \"\"", 0o644).is_ok());
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let refused = |text: &str| read(&format!("[agent]\n{text}"), 0o600).unwrap().0.into_config(None).is_err();
    for bad in [
        "uuid = \"a/b\"",
        "tpm_hash_alg = \"sha1\"",
        "tpm_signing_alg = \"none\"",
        "tpm_encryption_alg = \"rsa1024\"",
        "ek_handle = \"x\"",
        "secure_size = \"0\"",
        "enc_keyname = \"../key\"",
        "payload_script = \"/bin/sh\"",
    ] {
        assert!(refused(bad), "{bad}");
    }
    assert!(!refused("ek_handle = \"0x81010001\""));
    assert!(read("[agent]\nport = \"x\"", 0o600).is_err());
}
