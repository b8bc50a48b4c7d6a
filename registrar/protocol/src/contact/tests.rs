#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;

use super::*;

fn certificate() -> String {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

#[test]
fn addresses_and_names_are_hosts() {
    for host in ["127.0.0.1", "::1", "fd00::1", "node-1.example.org", "node_1"] {
        let contact = Contact::parse(Some(host), Some(9002), None).unwrap();
        assert_eq!(contact.host.as_deref(), Some(host));
    }
}

#[test]
fn what_could_mean_more_than_a_host_is_refused() {
    let long = "a".repeat(HOST_NAME_CHARS_MAX + 1);
    for host in ["a b", "a/b", "a:1", "u@h", "a\nb", "[::1]", "ä.example", "%41", &long] {
        let refused = Contact::parse(Some(host), None, None).unwrap_err();
        assert!(matches!(refused, ContactRejected::Host { .. }), "{host:?}");
    }
    assert!(matches!(Contact::parse(None, Some(0), None), Err(ContactRejected::Port)));
}

#[test]
fn one_certificate_or_the_word_disabled_is_taken_as_it_came() {
    let pem = certificate();
    let contact = Contact::parse(None, None, Some(&pem)).unwrap();
    assert_eq!(contact.certificate.unwrap().as_wire(), pem);
    let contact = Contact::parse(None, None, Some("disabled")).unwrap();
    assert_eq!(contact.certificate, Some(TlsCertificate::Disabled));
    assert_eq!(Contact::parse(Some(""), None, Some("")).unwrap(), Contact::default());
}

#[test]
fn two_certificates_or_none_in_mtls_cert_are_refused() {
    let two = certificate() + &certificate();
    for text in ["Disabled", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &two] {
        let refused = Contact::parse(None, None, Some(text)).unwrap_err();
        assert!(matches!(refused, ContactRejected::Certificate(_)), "{text}");
    }
}
