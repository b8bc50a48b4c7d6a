#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fixtures_softtpm::{AK_ATTRIBUTES, EK_ATTRIBUTES, KeyKind, SoftCa, SoftTpm, Validity, attribute};
use messages::keylime::Register;

use super::*;
use crate::{ClaimField, MalformedClaim};

const NOW: i64 = 1_800_000_000;
const REQUIRED: EkCertificatePolicy = EkCertificatePolicy::Required;
const DANGER: EkCertificatePolicy = EkCertificatePolicy::DangerNotRequired;

struct Vendor {
    ca: SoftCa,
    trust: TrustStore,
}

fn vendor() -> Vendor {
    let ca = SoftCa::root("Vendor Root");
    let mut trust = TrustStore::new();
    trust.add("root.pem", &ca.pem()).unwrap();
    Vendor { ca, trust }
}

fn register(tpm: &SoftTpm, certificate: Option<Vec<u8>>) -> Register {
    Register {
        ek_tpm: Some(STANDARD.encode(tpm.ek.tpm2b_public())),
        aik_tpm: STANDARD.encode(tpm.ak.tpm2b_public()),
        ekcert: certificate.map(|der| STANDARD.encode(der)),
        ..Register::default()
    }
}

fn pem(der: &[u8]) -> String {
    let certificate = openssl::x509::X509::from_der(der).unwrap();
    String::from_utf8(certificate.to_pem().unwrap()).unwrap()
}

fn judge(body: &Register, trust: &TrustStore, policy: EkCertificatePolicy) -> Result<Identity, IdentityRejected> {
    Claim::parse(body).unwrap().verify(trust, policy, NOW)
}

fn genuine(vendor: &Vendor, tpm: &SoftTpm) -> Identity {
    let certificate = vendor.ca.certify_ek(&tpm.ek.key, Validity::USUAL);
    judge(&register(tpm, Some(certificate)), &vendor.trust, REQUIRED).unwrap()
}

#[test]
fn a_certified_tpm_of_each_kind_is_an_identity() {
    let vendor = vendor();
    for kind in [KeyKind::RSA_2048, KeyKind::P256, KeyKind::P384] {
        let tpm = SoftTpm::new(kind, 0);
        let identity = genuine(&vendor, &tpm);
        assert_eq!(identity.ek().name().as_bytes(), tpm.ek.name());
        assert_eq!(identity.ak().name().as_bytes(), tpm.ak.name());
        assert!(matches!(identity.standing(), EkCertificateStanding::Verified(_)));
    }
}

#[test]
fn a_padded_certificate_is_the_same_identity_as_the_bare_one() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let bare = vendor.ca.certify_ek(&tpm.ek.key, Validity::USUAL);
    for padding in [0x00, 0xff] {
        let padded = [bare.clone(), vec![padding; 100]].concat();
        let identity = judge(&register(&tpm, Some(padded)), &vendor.trust, REQUIRED).unwrap();
        assert_eq!(identity.certificate(), Some(bare.as_slice()));
    }
    let spoilt = [bare, vec![1; 100]].concat();
    assert!(matches!(Claim::parse(&register(&tpm, Some(spoilt))), Err(MalformedClaim::Certificate(_))));
}

#[test]
fn a_chain_sent_along_closes_the_gap_to_the_root_and_nothing_more() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let intermediate = vendor.ca.intermediate("Vendor Intermediate", Validity::USUAL);
    let certificate = intermediate.certify_ek(&tpm.ek.key, Validity::USUAL);
    let mut body = register(&tpm, None);
    body.ekcert = Some(pem(&certificate) + &pem(&intermediate.der()));
    let identity = judge(&body, &vendor.trust, REQUIRED).unwrap();
    assert_eq!(identity.chain(), [intermediate.der()]);
    // Without it the gap stays; and a root that is sent along is no root.
    body.ekcert = Some(pem(&certificate));
    assert!(matches!(judge(&body, &vendor.trust, REQUIRED), Err(IdentityRejected::Certificate(_))));
    body.ekcert = Some(pem(&certificate) + &pem(&intermediate.der()) + &pem(&vendor.ca.der()));
    assert!(matches!(judge(&body, &TrustStore::new(), REQUIRED), Err(IdentityRejected::Certificate(_))));
}

#[test]
fn the_certificate_of_another_key_is_refused_under_every_policy() {
    let vendor = vendor();
    for kind in [KeyKind::RSA_2048, KeyKind::P256] {
        let (tpm, other) = (SoftTpm::new(kind, 0), SoftTpm::new(kind, 1));
        let certificate = vendor.ca.certify_ek(&other.ek.key, Validity::USUAL);
        for policy in [REQUIRED, DANGER] {
            let refused = judge(&register(&tpm, Some(certificate.clone())), &vendor.trust, policy);
            assert!(matches!(refused, Err(IdentityRejected::CertificateKey(_))));
        }
    }
}

#[test]
fn an_unknown_root_is_refused_unless_the_danger_is_accepted() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let certificate = SoftCa::root("Another Root").certify_ek(&tpm.ek.key, Validity::USUAL);
    let body = register(&tpm, Some(certificate));
    let refused = judge(&body, &vendor.trust, REQUIRED).unwrap_err();
    assert!(matches!(
        refused,
        IdentityRejected::Certificate(EkCertificateRejected::UnknownIssuer { issuer, .. }) if issuer.contains("Another")
    ));
    let identity = judge(&body, &vendor.trust, DANGER).unwrap();
    assert!(matches!(identity.standing(), EkCertificateStanding::DangerUnverified(Some(_))));
}

#[test]
fn an_impostor_of_the_root_is_refused() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let certificate = SoftCa::root("Vendor Root").certify_ek(&tpm.ek.key, Validity::USUAL);
    let refused = judge(&register(&tpm, Some(certificate)), &vendor.trust, REQUIRED).unwrap_err();
    assert!(matches!(refused, IdentityRejected::Certificate(EkCertificateRejected::Signature { .. })));
}

#[test]
fn an_expired_certificate_is_refused_unless_the_danger_is_accepted() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let body = register(&tpm, Some(vendor.ca.certify_ek(&tpm.ek.key, Validity::PAST)));
    let refused = judge(&body, &vendor.trust, REQUIRED).unwrap_err();
    assert!(matches!(refused, IdentityRejected::Certificate(EkCertificateRejected::Expired { .. })));
    let identity = judge(&body, &vendor.trust, DANGER).unwrap();
    assert!(matches!(identity.standing(), EkCertificateStanding::DangerUnverified(Some(_))));
}

#[test]
fn a_missing_certificate_is_refused_unless_the_danger_is_accepted() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let mut body = register(&tpm, None);
    for ekcert in [None, Some(String::new())] {
        body.ekcert = ekcert;
        let refused = judge(&body, &vendor.trust, REQUIRED);
        assert!(matches!(refused, Err(IdentityRejected::CertificateMissing)));
    }
    let identity = judge(&body, &vendor.trust, DANGER).unwrap();
    assert!(matches!(identity.standing(), EkCertificateStanding::DangerUnverified(None)));
}

#[test]
fn iak_and_idevid_are_named_as_unjudged_and_replace_nothing() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::P256, 0));
    let mut body = register(&tpm, None);
    body.iak_tpm = Some(STANDARD.encode([1; 90]));
    body.idevid_cert = Some(pem(&vendor.ca.der()));
    let claim = Claim::parse(&body).unwrap();
    assert_eq!(claim.unjudged, [ClaimField::IakTpm, ClaimField::IdevidCert]);
    let refused = claim.verify(&vendor.trust, REQUIRED, NOW);
    assert!(matches!(refused, Err(IdentityRejected::CertificateMissingBesideIak)));
    body.iak_sign = Some("not base64".into());
    assert!(matches!(Claim::parse(&body), Err(MalformedClaim::Base64 { field: ClaimField::IakSign, .. })));
}

#[test]
fn an_ak_that_lacks_any_one_attribute_is_refused() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::RSA_2048, 0));
    let certificate = vendor.ca.certify_ek(&tpm.ek.key, Validity::USUAL);
    let with = |attributes: u32| {
        let tpm = SoftTpm::with_keys(tpm.ek.clone(), tpm.ak.clone().with_attributes(attributes));
        match judge(&register(&tpm, Some(certificate.clone())), &vendor.trust, REQUIRED) {
            Ok(_) => None,
            Err(IdentityRejected::Ak(why)) => Some(why),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(with(AK_ATTRIBUTES), None);
    assert_eq!(with(AK_ATTRIBUTES & !attribute::FIXED_TPM), Some(AkRejected::NotFixedTpm));
    assert_eq!(with(AK_ATTRIBUTES & !attribute::FIXED_PARENT), Some(AkRejected::NotFixedParent));
    assert_eq!(with(AK_ATTRIBUTES & !attribute::SENSITIVE_DATA_ORIGIN), Some(AkRejected::NotSensitiveDataOrigin));
    assert_eq!(with(AK_ATTRIBUTES & !attribute::RESTRICTED), Some(AkRejected::NotRestricted));
    assert_eq!(with(AK_ATTRIBUTES & !attribute::SIGN), Some(AkRejected::NotSigning));
    assert_eq!(with(AK_ATTRIBUTES | attribute::DECRYPT), Some(AkRejected::Decrypting));
}

#[test]
fn an_ek_that_lacks_any_one_attribute_is_refused() {
    let (vendor, tpm) = (vendor(), SoftTpm::new(KeyKind::RSA_2048, 0));
    let certificate = vendor.ca.certify_ek(&tpm.ek.key, Validity::USUAL);
    let with = |attributes: u32| {
        let mut tpm = tpm.clone();
        tpm.ek.attributes = attributes;
        match judge(&register(&tpm, Some(certificate.clone())), &vendor.trust, REQUIRED) {
            Ok(_) => None,
            Err(IdentityRejected::Ek(why)) => Some(why),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(with(EK_ATTRIBUTES), None);
    assert_eq!(with(EK_ATTRIBUTES & !attribute::FIXED_TPM), Some(EkRejected::NotFixedTpm));
    assert_eq!(with(EK_ATTRIBUTES & !attribute::FIXED_PARENT), Some(EkRejected::NotFixedParent));
    assert_eq!(with(EK_ATTRIBUTES & !attribute::SENSITIVE_DATA_ORIGIN), Some(EkRejected::NotSensitiveDataOrigin));
    assert_eq!(with(EK_ATTRIBUTES & !attribute::RESTRICTED), Some(EkRejected::NotRestricted));
    assert_eq!(with(EK_ATTRIBUTES & !attribute::DECRYPT), Some(EkRejected::NotDecrypting));
    assert_eq!(with(EK_ATTRIBUTES | attribute::SIGN), Some(EkRejected::Signing));
}

#[test]
fn malformed_members_are_named() {
    let tpm = SoftTpm::new(KeyKind::P256, 0);
    let good = register(&tpm, None);
    let refused = |change: &dyn Fn(&mut Register)| {
        let mut body = good.clone();
        change(&mut body);
        Claim::parse(&body).unwrap_err().to_string()
    };
    let longer = STANDARD.encode([tpm.ak.tpm2b_public(), vec![0]].concat());
    let shorter = STANDARD.encode(&tpm.ak.tpm2b_public()[..40]);
    assert!(refused(&|body| body.ek_tpm = None).starts_with("ek_tpm is missing"));
    assert!(refused(&|body| body.ek_tpm = Some(String::new())).starts_with("ek_tpm is missing"));
    assert!(refused(&|body| body.aik_tpm = String::new()).starts_with("aik_tpm is missing"));
    assert!(refused(&|body| body.ek_tpm = Some("@".into())).starts_with("ek_tpm is not base64"));
    assert!(refused(&|body| body.aik_tpm = "AToAAQ".into()).starts_with("aik_tpm is not base64"));
    assert!(refused(&|body| body.aik_tpm = longer.clone()).starts_with("aik_tpm is not the TPM2B_PUBLIC"));
    assert!(refused(&|body| body.aik_tpm = shorter.clone()).starts_with("aik_tpm is not the TPM2B_PUBLIC"));
    assert!(refused(&|body| body.ekcert = Some("AA@A".into())).starts_with("ekcert is neither PEM nor base64"));
    assert!(refused(&|body| body.ekcert = Some("AAAA".into())).starts_with("ekcert is not a certificate"));
    assert!(refused(&|body| body.ekcert = Some("-----BEGIN X".into())).starts_with("ekcert is not a certificate"));
    assert!(refused(&|body| body.ip = Some("a b".into())).starts_with("ip \"a b\""));
    assert!(refused(&|body| body.port = Some(0)).starts_with("port is 0"));
    assert!(refused(&|body| body.mtls_cert = Some("x".into())).starts_with("mtls_cert is not"));
}

#[test]
fn only_the_holder_may_register_an_id_again() {
    let vendor = vendor();
    let (first, second) = (SoftTpm::new(KeyKind::P256, 0), SoftTpm::new(KeyKind::P256, 1));
    let identity = genuine(&vendor, &first);
    let (ek, ak) = (first.ek.tpm2b_public(), first.ak.tpm2b_public());
    let holder = Holder { ek: &ek, ak: &ak, certificate: identity.certificate() };
    assert_eq!(holder.admits(&identity), Ok(()));

    let differs = |offered: &Identity| holder.admits(offered).unwrap_err().differs;
    let all = [IdentityPart::Ek, IdentityPart::Certificate, IdentityPart::Ak];
    assert_eq!(differs(&genuine(&vendor, &second)), all);
    let other_ak = SoftTpm::with_keys(first.ek.clone(), second.ak.clone());
    let certificate = identity.certificate().unwrap().to_vec();
    let offered = judge(&register(&other_ak, Some(certificate.clone())), &vendor.trust, REQUIRED).unwrap();
    assert_eq!(differs(&offered), [IdentityPart::Ak]);
    let other_ek = SoftTpm::with_keys(second.ek.clone(), first.ak.clone());
    assert_eq!(differs(&genuine(&vendor, &other_ek)), [IdentityPart::Ek, IdentityPart::Certificate]);

    // A certificate that is renewed, taken away or added is another identity too.
    let renewed = vendor.ca.certify_ek(&first.ek.key, Validity { not_before: 0, ..Validity::USUAL });
    let offered = judge(&register(&first, Some(renewed)), &vendor.trust, REQUIRED).unwrap();
    assert_eq!(differs(&offered), [IdentityPart::Certificate]);
    let offered = judge(&register(&first, None), &vendor.trust, DANGER).unwrap();
    assert_eq!(differs(&offered), [IdentityPart::Certificate]);
    let without = Holder { certificate: None, ..holder };
    assert_eq!(without.admits(&identity).unwrap_err().differs, [IdentityPart::Certificate]);
    assert_eq!(without.admits(&offered), Ok(()));
}
