#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use fixtures_softtpm::{KeyKind, SoftCa, SoftTpm, Validity, shared};
use proptest::prelude::*;

use super::*;
use crate::testing;

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

struct Site {
    root: SoftCa,
    intermediate: SoftCa,
    tpm: SoftTpm,
    store: TrustStore,
}

fn site() -> Site {
    let root = SoftCa::root("root");
    let intermediate = root.intermediate("intermediate", Validity::USUAL);
    let mut store = TrustStore::new();
    assert_eq!(store.add("ca.pem", &[root.pem(), intermediate.pem()].concat()).unwrap(), 2);
    Site { root, intermediate, tpm: SoftTpm::new(KeyKind::RSA_2048, 0), store }
}

impl Site {
    fn ek_certificate(&self, validity: Validity) -> Vec<u8> {
        self.intermediate.certify_ek(&self.tpm.ek.key, validity)
    }

    fn verify(&self, certificate: &[u8], presented: &[u8]) -> Result<ChainReport, EkCertificateRejected> {
        let presented = if presented.is_empty() { vec![] } else { Certificate::parse_all(presented, 16).unwrap() };
        self.store.verify_chain(&EkCertificate::parse(certificate).unwrap(), &presented, NOW)
    }
}

#[test]
fn a_certificate_is_traced_to_its_root() {
    let site = site();
    let der = site.ek_certificate(Validity::USUAL);
    let report = site.verify(&der, &[]).unwrap();
    let subjects: Vec<_> = report.links.iter().map(|link| link.subject.as_str()).collect();
    assert_eq!(subjects, ["", "CN=intermediate", "CN=root"]);
    assert!(report.links.iter().all(|link| link.irregularities.is_empty()));
    assert_eq!(report.root().unwrap().sha256.as_bytes(), openssl::sha::sha256(&site.root.der()));
    assert_eq!((site.store.roots().len(), site.store.intermediates().len()), (1, 1));
}

#[test]
fn certificates_for_ecc_keys_directly_under_the_root_are_traced_too() {
    let site = site();
    for kind in [KeyKind::P256, KeyKind::P384] {
        let der = site.root.certify_ek(&shared(kind, 0), Validity::USUAL);
        assert_eq!(site.verify(&der, &[]).unwrap().links.len(), 2);
    }
}

#[test]
fn an_issuer_whose_key_is_named_rsaes_oaep_is_verified_by_direct_rsa() {
    let mut site = site();
    let root = SoftCa::rsa_oaep_root("early");
    site.store.add("early.der", &root.der()).unwrap();
    assert_eq!(site.store.roots().len(), 2);
    let der = root.certify_ek(&site.tpm.ek.key, Validity::USUAL);
    let report = site.verify(&der, &[]).unwrap();
    assert_eq!(report.root().unwrap().irregularities, [Irregularity::RsaOaepKey]);
    let mut changed = der;
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert!(matches!(site.verify(&changed, &[]), Err(EkCertificateRejected::Signature { .. })));
}

#[test]
fn the_key_must_be_the_eks() {
    let site = site();
    let certificate = EkCertificate::parse(&site.ek_certificate(Validity::USUAL)).unwrap();
    assert_eq!(certificate.check_key(&testing::ek(&site.tpm.ek)), Ok(()));
    for other in [SoftTpm::new(KeyKind::RSA_2048, 1), SoftTpm::new(KeyKind::P256, 0)] {
        let mismatch = certificate.check_key(&testing::ek(&other.ek)).unwrap_err();
        assert_eq!(mismatch.serial, "7e57");
    }
}

#[test]
fn an_unknown_root_is_rejected_by_name() {
    let site = site();
    let stranger = SoftCa::root("stranger").certify_ek(&site.tpm.ek.key, Validity::USUAL);
    let rejected = site.verify(&stranger, &[]).unwrap_err();
    assert!(matches!(&rejected, EkCertificateRejected::UnknownIssuer { issuer, .. } if issuer == "CN=stranger"));
}

#[test]
fn a_stranger_with_the_name_of_a_trusted_authority_is_rejected() {
    let site = site();
    for name in ["root", "intermediate"] {
        let forged = SoftCa::root(name).certify_ek(&site.tpm.ek.key, Validity::USUAL);
        let rejected = site.verify(&forged, &[]).unwrap_err();
        assert!(matches!(&rejected, EkCertificateRejected::Signature { .. }), "{rejected:?}");
    }
}

#[test]
fn a_presented_root_is_not_trusted() {
    let site = site();
    let stranger = SoftCa::root("stranger");
    let der = stranger.certify_ek(&site.tpm.ek.key, Validity::USUAL);
    let rejected = site.verify(&der, &stranger.der()).unwrap_err();
    assert!(matches!(rejected, EkCertificateRejected::UnknownIssuer { .. }), "{rejected:?}");
}

#[test]
fn a_presented_intermediate_closes_the_gap() {
    let site = site();
    let extra = site.root.intermediate("extra", Validity::USUAL);
    let der = extra.certify_ek(&site.tpm.ek.key, Validity::USUAL);
    assert!(matches!(site.verify(&der, &[]), Err(EkCertificateRejected::UnknownIssuer { .. })));
    assert_eq!(site.verify(&der, &extra.der()).unwrap().links.len(), 3);

    let pem = openssl::x509::X509::from_der(&der).unwrap().to_pem().unwrap();
    let (certificate, chain) = EkCertificate::parse_with_chain(&[pem, extra.pem()].concat()).unwrap();
    assert!(site.store.verify_chain(&certificate, &chain, NOW).is_ok());
}

#[test]
fn an_intermediate_alone_is_no_anchor() {
    let site = site();
    let mut store = TrustStore::new();
    store.add("intermediate.pem", &site.intermediate.pem()).unwrap();
    let certificate = EkCertificate::parse(&site.ek_certificate(Validity::USUAL)).unwrap();
    let rejected = store.verify_chain(&certificate, &[], NOW).unwrap_err();
    assert!(matches!(&rejected, EkCertificateRejected::UnknownIssuer { issuer, .. } if issuer == "CN=root"));
}

#[test]
fn an_expired_certificate_is_rejected_as_expired_and_no_day_earlier() {
    let site = site();
    let der = site.ek_certificate(Validity::PAST);
    let rejected = site.verify(&der, &[]).unwrap_err();
    assert!(matches!(rejected, EkCertificateRejected::Expired { not_after: 1_451_606_399, at: NOW, .. }));

    let der = site.ek_certificate(Validity { not_before: NOW, not_after: NOW });
    let certificate = EkCertificate::parse(&der).unwrap();
    let at = |time| site.store.verify_chain(&certificate, &[], time);
    assert!(at(NOW).is_ok());
    assert!(matches!(at(NOW + 1), Err(EkCertificateRejected::Expired { .. })));
    assert!(matches!(at(NOW - 1), Err(EkCertificateRejected::NotYetValid { .. })));
}

#[test]
fn an_expired_intermediate_is_rejected_by_name_unless_a_valid_one_stands_beside_it() {
    let mut site = site();
    let old = site.root.intermediate("renewed", Validity::PAST);
    let der = old.certify_ek(&site.tpm.ek.key, Validity::USUAL);
    let rejected = site.verify(&der, &old.der()).unwrap_err();
    assert!(matches!(&rejected, EkCertificateRejected::Expired { subject, .. } if subject == "CN=renewed"));
    site.store.add("other.der", &old.renewed("renewed", &site.root, Validity::USUAL).der()).unwrap();
    assert!(site.verify(&der, &old.der()).is_ok());
}

#[test]
fn a_path_longer_than_an_authority_allows_is_rejected() {
    for (limit, allowed) in [(0, false), (1, true)] {
        let mut site = site();
        let root = SoftCa::root_with_path_length("limited", limit);
        site.store.add("limited.der", &root.der()).unwrap();
        let der = root.intermediate("below", Validity::USUAL);
        let judged = site.verify(&der.certify_ek(&site.tpm.ek.key, Validity::USUAL), &der.der());
        match judged {
            Ok(_) => assert!(allowed),
            Err(EkCertificateRejected::PathLength { limit: 0, .. }) => assert!(!allowed),
            Err(other) => panic!("{other:?}"),
        }
        let direct = root.certify_ek(&site.tpm.ek.key, Validity::USUAL);
        assert!(site.verify(&direct, &[]).is_ok());
    }
}

#[test]
fn unknown_critical_extensions_are_rejected_and_known_ones_tolerated() {
    let site = site();
    let with = |number| site.intermediate.certify_ek_with(&site.tpm.ek.key, Validity::USUAL, Some(number));
    // Subject directory attributes, which EK certificates may carry.
    assert!(site.verify(&with("2.5.29.9"), &[]).is_ok());
    for unknown in ["2.5.29.30", "1.3.6.1.4.1.311.99"] {
        let rejected = site.verify(&with(unknown), &[]).unwrap_err();
        let named = matches!(&rejected, EkCertificateRejected::UnknownCriticalExtension { oid, .. } if oid == unknown);
        assert!(named, "{rejected:?}");
    }
}

#[test]
fn an_ek_certificate_cannot_issue_another() {
    let site = site();
    // Its subject is empty, and so is the issuer of the forged one.
    let parent = site.ek_certificate(Validity::USUAL);
    let builder = openssl::x509::X509::from_der(&parent).unwrap();
    assert!(builder.subject_name().entries().next().is_none());
    let forged = forge_below(&builder, &site.tpm.ek.key);
    let rejected = site.verify(&forged, &parent).unwrap_err();
    assert!(matches!(rejected, EkCertificateRejected::NotAnAuthority { .. }), "{rejected:?}");
}

fn forge_below(parent: &openssl::x509::X509, key: &PKeyRef<openssl::pkey::Private>) -> Vec<u8> {
    let mut builder = openssl::x509::X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_issuer_name(parent.subject_name()).unwrap();
    builder.set_subject_name(parent.subject_name()).unwrap();
    builder.set_pubkey(&shared(KeyKind::P256, 5)).unwrap();
    let serial = openssl::bn::BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_not_before(parent.not_before()).unwrap();
    builder.set_not_after(parent.not_after()).unwrap();
    let common_name = openssl::x509::X509Name::builder().and_then(|mut name| {
        name.append_entry_by_text("CN", "forged")?;
        Ok(name.build())
    });
    builder.set_subject_name(&common_name.unwrap()).unwrap();
    builder.sign(key, openssl::hash::MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

#[test]
fn a_chain_of_too_many_authorities_is_rejected() {
    let site = site();
    let mut authority = site.root.intermediate("deep 0", Validity::USUAL);
    let mut presented = authority.pem();
    for depth in 1..9 {
        authority = authority.intermediate(&format!("deep {depth}"), Validity::USUAL);
        presented.extend(authority.pem());
    }
    let der = authority.certify_ek(&site.tpm.ek.key, Validity::USUAL);
    let rejected = site.verify(&der, &presented).unwrap_err();
    assert!(matches!(rejected, EkCertificateRejected::TooLong { .. }), "{rejected:?}");
}

#[test]
fn more_certificates_than_a_chain_has_are_rejected() {
    let site = site();
    let der = site.ek_certificate(Validity::USUAL);
    let many = vec![Certificate::parse_first(&site.intermediate.der()).unwrap(); 17];
    let rejected = site.store.verify_chain(&EkCertificate::parse(&der).unwrap(), &many, NOW).unwrap_err();
    assert!(matches!(rejected, EkCertificateRejected::TooManyPresented { found: 17, .. }));
    assert!(matches!(
        EkCertificate::parse_with_chain(&site.intermediate.pem().repeat(18)),
        Err(MalformedCertificate::TooMany { max: 17 })
    ));
}

#[test]
fn padding_and_the_nv_header_are_tolerated_and_named() {
    let site = site();
    let der = site.ek_certificate(Validity::USUAL);
    for byte in [0x00, 0xff] {
        let padded = [&der[..], &vec![byte; 500]].concat();
        let certificate = EkCertificate::parse(&padded).unwrap();
        assert_eq!(certificate.der(), der);
        assert_eq!(certificate.irregularities(), [Irregularity::Padding { byte, count: 500 }]);
        assert!(site.verify(&padded, &[]).is_ok());
    }
    let size = u16::try_from(der.len() + 2).unwrap().to_be_bytes();
    let nv = [&[0x10, 0x01, 0x00, size[0], size[1], 0x10, 0x02], &der[..]].concat();
    let certificate = EkCertificate::parse(&nv).unwrap();
    assert_eq!((certificate.der(), certificate.irregularities()), (&der[..], &[Irregularity::NvHeader][..]));
}

#[test]
fn bytes_behind_that_are_no_padding_are_malformed() {
    let der = site().ek_certificate(Validity::USUAL);
    for behind in [&[0x41][..], &[0x00, 0xff], &[0xff, 0x00], &der] {
        let parsed = EkCertificate::parse(&[&der[..], behind].concat());
        assert!(matches!(parsed, Err(MalformedCertificate::TrailingBytes { .. })), "{parsed:?}");
    }
}

#[test]
fn text_and_garbage_are_malformed() {
    let parse = |bytes: &[u8]| EkCertificate::parse(bytes).unwrap_err();
    assert!(matches!(parse(b""), MalformedCertificate::NotACertificate { first_byte: None }));
    assert!(matches!(parse(b"hello"), MalformedCertificate::NotACertificate { first_byte: Some(b'h') }));
    assert!(matches!(parse(b"-----BEGIN CERTIFICATE-----\nAAAA"), MalformedCertificate::PemEnd));
    let not_base64 = b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----";
    assert!(matches!(parse(not_base64), MalformedCertificate::PemBase64 { .. }));
    assert!(matches!(parse(&vec![b'x'; 70_000]), MalformedCertificate::TooLong { .. }));
    assert!(matches!(TrustStore::new().add("x", b"no"), Err(MalformedTrustFile { file, .. }) if file == "x"));
}

#[test]
fn a_broken_certificate_keeps_the_whole_file_out_of_the_store() {
    let site = site();
    let mut store = TrustStore::new();
    let broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(store.add("mixed.pem", &[&site.root.pem()[..], broken].concat()).is_err());
    assert!(store.roots().is_empty());
    assert_eq!(store.add("root.der", &site.root.der()).unwrap(), 1);
    assert_eq!(store.add("root again.pem", &site.root.pem()).unwrap(), 0);
}

#[test]
fn every_changed_byte_is_malformed_or_rejected_or_not_signed() {
    let site = site();
    let der = site.ek_certificate(Validity::USUAL);
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0x01;
        if let Ok(certificate) = EkCertificate::parse(&changed) {
            let judged = site.store.verify_chain(&certificate, &[], NOW);
            assert!(judged.is_err(), "byte {at} of {}", der.len());
        }
    }
}

#[test]
fn times_are_read_as_seconds_since_1970() {
    let read = |tag: u8, text: &str| {
        let element = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        time::unix_seconds(&crate::der::Der::new(&element).any("time").unwrap())
    };
    assert_eq!(read(0x17, "700101000000Z"), Some(0));
    assert_eq!(read(0x17, "491231235959Z"), Some(2_524_607_999));
    assert_eq!(read(0x17, "500101000000Z"), Some(-631_152_000));
    assert_eq!(read(0x17, "0002291200Z"), Some(951_825_600));
    assert_eq!(read(0x18, "20260101000000Z"), Some(NOW));
    assert_eq!(read(0x18, "99991231235959Z"), Some(253_402_300_799));
    for broken in ["", "Z", "700101000000", "7001010000000Z", "701301000000Z", "70010100000xZ", "700101240000Z"] {
        assert_eq!(read(0x17, broken), None, "{broken:?}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(EkCertificate::parse(&bytes));
        drop(EkCertificate::parse(&[&[0x30, 0x82, 0x01, 0x00][..], &bytes].concat()));
    }

    #[test]
    fn splices_of_a_certificate_never_panic(at in 0_usize..500, tail in prop::collection::vec(any::<u8>(), 0..100)) {
        static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = DER.get_or_init(|| SoftCa::root("root").certify_ek(&shared(KeyKind::P256, 0), Validity::USUAL)).clone();
        bytes.truncate(at);
        bytes.extend(tail);
        drop(EkCertificate::parse(&bytes));
    }
}
