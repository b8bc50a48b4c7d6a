//! A registration captured from a stock agent, where the recordings are at hand.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use evidence::ek_certificate::TrustStore;
use messages::keylime::Register;
use registrar_protocol::{Claim, EkCertificatePolicy, EkCertificateStanding, IdentityRejected, TlsCertificate};

/// `../shared` beside the workspace.
fn recording(name: &str) -> Option<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let path = workspace.join("../shared/samples/keylime").join(name);
    let text = std::fs::read_to_string(&path);
    if text.is_err() {
        eprintln!("SKIPPED: {} is not there", path.display());
    }
    text.ok()
}

#[test]
fn a_stock_agents_registration_is_well_formed_and_its_certificate_its_own() {
    let Some(recording) = recording("server_POST_v2.6_agents_id_registrar_200.txt") else {
        return;
    };
    let body = recording.lines().find(|line| line.starts_with('{')).unwrap();
    let body: Register = serde_json::from_str(body).unwrap();
    let claim = Claim::parse(&body).unwrap();
    assert_eq!(claim.contact.port, Some(9002));
    assert!(matches!(claim.contact.certificate, Some(TlsCertificate::Pem(_))));
    assert!(claim.unjudged.is_empty());

    let now = 1_795_000_000;
    let trust = TrustStore::new();
    let refused = claim.verify(&trust, EkCertificatePolicy::Required, now);
    assert!(matches!(refused, Err(IdentityRejected::Certificate(_))));
    let identity = claim.verify(&trust, EkCertificatePolicy::DangerNotRequired, now).unwrap();
    assert!(matches!(identity.standing(), EkCertificateStanding::DangerUnverified(Some(_))));
    assert!(identity.certificate().is_some());
}
