#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use transport::ca::{Authority, KeyAlgorithm, Leaf};

use super::*;

fn signed(key: &PKey<Private>, msg: &str) -> RevocationNotice {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH).unwrap();
    signer.update(msg.as_bytes()).unwrap();
    RevocationNotice { msg: msg.to_owned(), signature: STANDARD.encode(signer.sign_to_vec().unwrap()) }
}

fn notifier() -> (Vec<u8>, PKey<Private>) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(folder.path(), "ca", KeyAlgorithm::Rsa3072).unwrap();
    let identity = authority.issue(&Leaf::server("notifier", &[], &[]), KeyAlgorithm::Rsa3072).unwrap();
    (identity.certificate().to_pem().unwrap(), identity.key().to_owned())
}

#[test]
fn only_what_the_certificates_key_signed_is_kept_and_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = RevocationLog::new(folder.path().join("revocations"));
    let (certificate, key) = notifier();
    let notice = signed(&key, r#"{"agent_id": "x"}"#);
    let name = log.accept(&notice, Some(&certificate)).unwrap();
    assert_eq!(log.accept(&notice, Some(&certificate)).unwrap(), name);
    let kept = std::fs::read_to_string(folder.path().join("revocations").join(format!("{name}.json"))).unwrap();
    assert_eq!(kept, notice.msg);

    let altered = RevocationNotice { msg: notice.msg.replace('x', "y"), ..notice.clone() };
    assert!(matches!(log.accept(&altered, Some(&certificate)), Err(RevocationRefused::Signature)));
    let unsigned = RevocationNotice { signature: String::new(), ..notice.clone() };
    assert!(matches!(log.accept(&unsigned, Some(&certificate)), Err(RevocationRefused::Signature)));
    let (other, _) = notifier();
    assert!(matches!(log.accept(&notice, Some(&other)), Err(RevocationRefused::Signature)));
    assert!(matches!(log.accept(&notice, None), Err(RevocationRefused::NoCertificate)));
    assert!(matches!(log.accept(&signed(&key, "text"), Some(&certificate)), Err(RevocationRefused::Message)));
    assert_eq!(std::fs::read_dir(folder.path().join("revocations")).unwrap().count(), 1);
}
