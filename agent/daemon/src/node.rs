//! What this agent is: its id, its keys, its logs; shared by the routes and the registration.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::algorithm::Digest;
use evidence::crypto::CryptoUnavailable;
use messages::AgentId;
use messages::keylime::Register;

use crate::measured_lists::MeasuredLists;
use crate::payload_key::PayloadKey;
use crate::provisioner::Provisioner;
use crate::revocation::RevocationLog;
use crate::tpm::{Attester, TpmError};

/// One running agent.
pub(crate) struct Node {
    pub(crate) attester: Attester,
    pub(crate) id: AgentId,
    pub(crate) lists: Arc<Mutex<MeasuredLists>>,
    pub(crate) payload_key: Arc<PayloadKey>,
    pub(crate) provisioner: Provisioner,
    pub(crate) revocation_certificate: Option<PathBuf>,
    pub(crate) revocations: RevocationLog,
}

impl Node {
    /// The quote string over `mask` and PCR 16.
    pub(crate) async fn quote(&self, nonce: &[u8], mask: u32) -> Result<String, TpmError> {
        let binding = self.binding()?;
        Ok(self.attester.quote(nonce.to_vec(), mask, binding).await?.encode())
    }

    /// What PCR 16 is extended with: the hash of NK's PEM, trailing newline included.
    fn binding(&self) -> Result<Digest, CryptoUnavailable> {
        self.attester.hash().digest(self.payload_key.public_pem().as_bytes())
    }

    /// What the registrar is told.
    pub(crate) fn registration(&self, contact_host: &str, contact_port: u16, certificate_pem: String) -> Register {
        let ek = self.attester.ek();
        Register {
            ek_tpm: Some(STANDARD.encode(ek.public.to_tpm2b())),
            ekcert: ek.certificate_pem.clone(),
            aik_tpm: STANDARD.encode(self.attester.ak().to_tpm2b()),
            ip: Some(contact_host.to_owned()),
            port: Some(contact_port),
            mtls_cert: Some(certificate_pem),
            ..Register::default()
        }
    }
}
