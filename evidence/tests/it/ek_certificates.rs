//! EK certificates of real vendors, against real vendors' authorities.

use std::path::Path;

use evidence::ek_certificate::{ChainReport, EkCertificate, EkCertificateRejected, Irregularity, TrustStore};

use crate::data;

/// 2026-01-01, when some of the recorded certificates are expired and some not yet valid.
const NOW: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

/// Each file, and a part of its root's name; none where the issuer is not among the vendors'.
const CERTIFICATES: [(&str, Option<&str>); 18] = [
    ("gce-cos-85-no-nonce_akcert.der", Some("tpm_ek_v1_cloud_host_root")),
    ("gce_pca_tpm_rsa_enc_cert.pem", Some("EK/AK CA Root")),
    ("gce_pca_tpm_rsa_sign_cert.pem", Some("EK/AK CA Root")),
    ("gce_uca_tpm_ecc_enc_cert.pem", Some("tpm_ek_v1_cloud_host_root")),
    ("hirs_ab21ccf2-tpmcert.pem", Some("GlobalSign")),
    ("hirs_ek_cert_7_byte_header_removed.cer", Some("GlobalSign")),
    ("hirs_ek_cert_untouched.cer", Some("GlobalSign")),
    ("hirs_nuc-1_tpmcert.pem", Some("GlobalSign")),
    ("infineon_slb9670_rsa.der", Some("Infineon")),
    ("intel-ekcert.pem", Some("Intel")),
    ("keylime_iak_hpe_style.der", None),
    ("keylime_idevid_hpe_style.der", None),
    ("keylime_idevid_iak_chain.pem", None),
    ("kit-ekcert.pem", None),
    ("nuvoton_npct_ecc_not_der.der", Some("Nuvoton")),
    ("stmicro_st33_ecc.der", Some("GlobalSign")),
    ("swtpm_ek-rsa2048.crt", Some("swtpm-localca-rootca")),
    ("tcg-example-user-device.der", None),
];

fn store(data: &Path) -> TrustStore {
    let mut store = TrustStore::new();
    let mut files: Vec<_> =
        std::fs::read_dir(data.join("vendor-ca")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        store.add(&file.display().to_string(), &std::fs::read(&file).unwrap()).unwrap();
    }
    store
}

fn certificate(data: &Path, name: &str) -> EkCertificate {
    let bytes = std::fs::read(data.join("ekcerts").join(name)).unwrap();
    EkCertificate::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// Today if the certificate is valid today, or else a day after it was issued.
fn verify(store: &TrustStore, certificate: &EkCertificate) -> Result<ChainReport, EkCertificateRejected> {
    store.verify_chain(certificate, &[], valid_time(certificate))
}

fn valid_time(certificate: &EkCertificate) -> i64 {
    let today = (certificate.not_before()..=certificate.not_after()).contains(&NOW);
    if today { NOW } else { certificate.not_before() + DAY }
}

#[test]
fn every_recorded_certificate_is_read_and_traced_as_the_readme_says() {
    let Some(data) = data() else { return };
    let store = store(&data);
    eprintln!("{} roots, {} intermediates", store.roots().len(), store.intermediates().len());
    for (name, root) in CERTIFICATES {
        let certificate = certificate(&data, name);
        let judged = verify(&store, &certificate);
        match (root, &judged) {
            (Some(root), Ok(report)) => {
                let found = &report.root().unwrap().subject;
                assert!(found.contains(root), "{name}: {found}");
            }
            (None, Err(EkCertificateRejected::UnknownIssuer { .. })) => {}
            _ => panic!("{name}: {judged:?}"),
        }
    }
}

#[test]
fn the_irregular_ones_are_named() {
    let Some(data) = data() else { return };
    let nv = certificate(&data, "hirs_ek_cert_untouched.cer");
    assert_eq!(nv.irregularities(), [Irregularity::NvHeader, Irregularity::RsaOaepKey]);
    let bare = certificate(&data, "hirs_ek_cert_7_byte_header_removed.cer");
    assert_eq!(bare.irregularities(), [Irregularity::RsaOaepKey]);
    assert_eq!((nv.der(), nv.public_key().bits()), (bare.der(), 2048));

    let report = verify(&store(&data), &bare).unwrap();
    assert_eq!(report.links[0].irregularities, [Irregularity::RsaOaepKey, Irregularity::Sha1Signature]);
    assert!(report.links[1..].iter().all(|link| link.irregularities.is_empty()), "{report:?}");
}

#[test]
fn the_expired_ones_are_rejected_as_expired_today() {
    let Some(data) = data() else { return };
    let store = store(&data);
    for name in ["hirs_ab21ccf2-tpmcert.pem", "hirs_nuc-1_tpmcert.pem", "kit-ekcert.pem", "tcg-example-user-device.der"]
    {
        let judged = store.verify_chain(&certificate(&data, name), &[], NOW);
        assert!(matches!(judged, Err(EkCertificateRejected::Expired { at: NOW, .. })), "{name}: {judged:?}");
    }
    let judged = store.verify_chain(&certificate(&data, "swtpm_ek-rsa2048.crt"), &[], NOW);
    assert!(matches!(judged, Err(EkCertificateRejected::NotYetValid { .. })), "{judged:?}");
    for name in ["infineon_slb9670_rsa.der", "stmicro_st33_ecc.der", "gce_uca_tpm_ecc_enc_cert.pem"] {
        assert!(store.verify_chain(&certificate(&data, name), &[], NOW).is_ok(), "{name}");
    }
}

#[test]
fn no_recorded_certificate_is_traced_by_an_empty_store() {
    let Some(data) = data() else { return };
    for (name, _) in CERTIFICATES {
        let judged = verify(&TrustStore::new(), &certificate(&data, name));
        assert!(matches!(judged, Err(EkCertificateRejected::UnknownIssuer { .. })), "{name}: {judged:?}");
    }
}

#[test]
fn a_recorded_certificate_with_one_changed_byte_is_malformed_or_rejected() {
    let Some(data) = data() else { return };
    let store = store(&data);
    for name in ["nuvoton_npct_ecc_not_der.der", "infineon_slb9670_rsa.der", "hirs_ek_cert_7_byte_header_removed.cer"] {
        let bytes = std::fs::read(data.join("ekcerts").join(name)).unwrap();
        let at = valid_time(&certificate(&data, name));
        for position in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[position] ^= 0x10;
            if let Ok(certificate) = EkCertificate::parse(&changed) {
                assert!(store.verify_chain(&certificate, &[], at).is_err(), "{name}: byte {position}");
            }
        }
    }
}
