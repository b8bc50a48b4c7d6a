//! The split key of a payload: K = U xor V, as Keylime's tenants make it.

use base64::{Engine, engine::general_purpose::STANDARD};
use messages::{AgentId, Digest};
use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    pkey::PKey,
    rsa::Padding,
    sign::Signer,
    symm::{Cipher, encrypt_aead},
};
use zeroize::Zeroizing;

use crate::{entropy, failure::Failure};

/// Largest payload in bytes: Keylime's `max_payload_size`.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

const KEY_BYTES: usize = 32;

/// Keylime's agents expect a 16-byte IV for AES-GCM, not the usual 12.
const IV_BYTES: usize = 16;

const TAG_BYTES: usize = 16;

/// A payload key and its two halves. Everything in it is wiped when it goes.
pub(crate) struct SplitKey {
    key: Zeroizing<[u8; KEY_BYTES]>,
    u: Zeroizing<[u8; KEY_BYTES]>,
    v: Zeroizing<[u8; KEY_BYTES]>,
    id: Digest,
}

impl SplitKey {
    /// A fresh key and a fresh split.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let key = Zeroizing::new(entropy::bytes::<KEY_BYTES>()?);
        let v = Zeroizing::new(entropy::bytes::<KEY_BYTES>()?);
        let mut u = Zeroizing::new([0; KEY_BYTES]);
        for ((u, k), v) in u.iter_mut().zip(key.iter()).zip(v.iter()) {
            *u = k ^ v;
        }
        // Named by randomness of its own, so that the name says nothing about the key.
        let id = Digest(openssl::sha::sha256(&entropy::bytes::<32>()?));
        Ok(Self { key, u, v, id })
    }

    /// The key's public name.
    pub(crate) fn id(&self) -> Digest {
        self.id
    }

    /// V for the verifier, base64.
    pub(crate) fn v_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.v))
    }

    /// U encrypted to the agent's payload key (PEM), base64 of RSAES-OAEP with SHA-1.
    pub(crate) fn u_for(&self, public_key_pem: &str) -> Result<String, Failure> {
        let encrypt = || -> Result<Vec<u8>, ErrorStack> {
            let rsa = PKey::public_key_from_pem(public_key_pem.as_bytes())?.rsa()?;
            let mut out = vec![0; usize::try_from(rsa.size()).unwrap_or_default()];
            let length = rsa.public_encrypt(self.u.as_slice(), &mut out, Padding::PKCS1_OAEP)?;
            out.truncate(length);
            Ok(out)
        };
        encrypt()
            .map(|bytes| STANDARD.encode(bytes))
            .map_err(|error| Failure::system("encrypt a key half to the machine's payload key", error))
    }

    /// Base64 of `IV ‖ AES-256-GCM ciphertext ‖ tag` over `payload`.
    pub(crate) fn encrypt(&self, payload: &[u8]) -> Result<String, Failure> {
        let iv = entropy::bytes::<IV_BYTES>()?;
        let mut tag = [0; TAG_BYTES];
        let ciphertext = encrypt_aead(Cipher::aes_256_gcm(), self.key.as_slice(), Some(&iv), &[], payload, &mut tag)
            .map_err(|error| Failure::system("encrypt the payload", error))?;
        let mut whole = Vec::with_capacity(IV_BYTES + ciphertext.len() + TAG_BYTES);
        whole.extend_from_slice(&iv);
        whole.extend_from_slice(&ciphertext);
        whole.extend_from_slice(&tag);
        Ok(STANDARD.encode(whole))
    }

    /// Hex HMAC-SHA384(K, agent id): lets the agent know when U and V belong together.
    pub(crate) fn auth_tag(&self, agent: &AgentId) -> Result<String, Failure> {
        let sign = || -> Result<Vec<u8>, ErrorStack> {
            let key = PKey::hmac(self.key.as_slice())?;
            Signer::new(MessageDigest::sha384(), &key)?.sign_oneshot_to_vec(agent.as_str().as_bytes())
        };
        sign().map(hex::encode).map_err(|error| Failure::system("compute the key's tag", error))
    }
}

#[cfg(test)]
mod tests;
