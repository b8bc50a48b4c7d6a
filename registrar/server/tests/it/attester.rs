//! An agent as far as the registrar meets it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::credential::Credential;
use fixtures_softtpm::{KeyKind, SoftCa, SoftTpm, Validity};
use http::{Method, StatusCode};
use messages::keylime::Register;
use registrar_protocol::auth_tag;
use serde_json::{Value, json};

use crate::stand::{Reply, Stand};

/// A TPM, the id it asks for and what it says of itself.
#[derive(Clone)]
pub(crate) struct Attester {
    pub(crate) body: Register,
    pub(crate) id: String,
    pub(crate) tpm: SoftTpm,
}

impl Attester {
    /// A TPM certified by `ca`.
    pub(crate) fn certified(id: &str, kind: KeyKind, number: usize, ca: &SoftCa) -> Self {
        let tpm = SoftTpm::new(kind, number);
        let certificate = ca.certify_ek(&tpm.ek.key, Validity::USUAL);
        Self::new(id, tpm, Some(&certificate))
    }

    pub(crate) fn new(id: &str, tpm: SoftTpm, certificate: Option<&[u8]>) -> Self {
        let body = Register {
            ek_tpm: Some(STANDARD.encode(tpm.ek.tpm2b_public())),
            aik_tpm: STANDARD.encode(tpm.ak.tpm2b_public()),
            ekcert: certificate.map(|der| STANDARD.encode(der)),
            ip: Some("127.0.0.1".to_owned()),
            port: Some(9002),
            mtls_cert: Some(tls_certificate(id)),
            ..Register::default()
        };
        Self { body, id: id.to_owned(), tpm }
    }

    pub(crate) fn path(&self) -> String {
        format!("/v2.6/agents/{}", self.id)
    }

    pub(crate) async fn register(&self, stand: &Stand) -> Reply {
        let body = serde_json::to_value(&self.body).unwrap();
        stand.public(Method::POST, &self.path(), &body).await
    }

    /// What the TPM makes of a registration's answer: the proof of activation.
    pub(crate) fn solve(&self, registered: &Reply) -> Value {
        assert_eq!(registered.status, StatusCode::OK, "{registered:?}");
        let blob = STANDARD.decode(registered.json()["results"]["blob"].as_str().unwrap()).unwrap();
        let credential = Credential::parse(&blob).unwrap();
        // TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, as the TPM takes them.
        let recovered = self.tpm.activate_credential(credential.id_object(), credential.encrypted_secret()).unwrap();
        assert_eq!(recovered.len(), 32);
        assert!(recovered.iter().all(u8::is_ascii_alphanumeric));
        json!({"auth_tag": auth_tag(&recovered, &self.id.parse().unwrap()).unwrap().to_hex().as_str()})
    }

    pub(crate) async fn activate(&self, stand: &Stand, proof: &Value) -> Reply {
        stand.public(Method::PUT, &self.path(), proof).await
    }

    /// Registers and activates.
    pub(crate) async fn enrol(&self, stand: &Stand) -> Reply {
        let proof = self.solve(&self.register(stand).await);
        self.activate(stand, &proof).await
    }
}

pub(crate) fn tls_certificate(id: &str) -> String {
    let identity = transport::ca::self_sign(id, &[]).unwrap();
    String::from_utf8(identity.certificate().to_pem().unwrap()).unwrap()
}
