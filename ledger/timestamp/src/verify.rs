//! Whether a token is believed: over these bytes, by that authority, at its own time.

use std::sync::Arc;

use openssl::asn1::Asn1Enumerated;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign::Verifier;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{CrlStatus, ReasonCode, X509, X509Crl, X509PurposeId, X509Ref, X509StoreContext};

use crate::certificates::Authorities;
use crate::digest::DigestAlgorithm;
use crate::request::Nonce;
use crate::time::{GenTime, unix_seconds};
use crate::token::{SignerIdentifier, SignerInfo, Token};

/// A token that is believed.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// From the signer to the root.
    pub chain: Vec<X509>,
    /// When the data existed at the latest, by the authority's clock; see the token's accuracy.
    pub gen_time: GenTime,
    /// Seconds since 1970 at which the first certificate of the chain expires. What is to stay
    /// provable must be stamped anew before.
    pub not_after: u64,
    /// What is known of revocation.
    pub revocation: Revocation,
}

impl VerifiedToken {
    /// The subject of the signer's certificate, for a person.
    #[must_use]
    pub fn authority(&self) -> String {
        self.chain.first().map(|signer| subject(signer)).unwrap_or_default()
    }
}

/// What is known of a chain's revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Lists by all issuers say that nothing was revoked in a way that matters.
    Checked,
    /// There was no list for at least one certificate.
    Unknown,
}

/// Why a well-formed token is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TokenRejected {
    /// No path from the signer to a trusted root, or a certificate on it does not allow stamping
    /// or was not valid at the token's time.
    #[error("the signer's certificate does not lead to a trusted root at the token's time: {reason}")]
    Chain {
        /// openssl's reason.
        reason: &'static str,
    },
    /// Digest or signature algorithm is weak or not known here.
    #[error("the {what} of the token uses an algorithm that is not accepted")]
    Algorithm {
        /// Which one.
        what: &'static str,
    },
    /// The token is over other bytes.
    #[error("the token is over another digest than that of the data")]
    Imprint,
    /// The signed attributes are about another statement.
    #[error("the digest that is signed is not that of the token's statement")]
    MessageDigest,
    /// The token answers another request.
    #[error("the token does not repeat the request's nonce")]
    Nonce,
    /// A certificate of the chain was revoked.
    #[error("the certificate of {subject} was revoked")]
    Revoked {
        /// Whose.
        subject: String,
    },
    /// The signature is not the signer's.
    #[error("the signature is not that of the certificate which the token names")]
    Signature,
    /// The certificate that the signed attributes name is not there.
    #[error("the signer's certificate is neither in the token nor supplied")]
    SignerMissing,
    /// Envelope and signed attributes name different certificates.
    #[error("the token's envelope names another certificate than its signed attributes")]
    SignerOther,
    /// openssl failed at something that does not depend on the token.
    #[error("openssl failed")]
    Unavailable {
        /// Its reasons.
        source: ErrorStack,
    },
}

impl From<ErrorStack> for TokenRejected {
    fn from(source: ErrorStack) -> Self {
        Self::Unavailable { source }
    }
}

impl Token {
    /// Verifies that an authority saw `data` at the token's time, in this order:
    ///
    /// 1. the token is over the digest of `data`, with SHA-2;
    /// 2. it repeats `nonce`, if one is given;
    /// 3. the signed attributes are about this token's statement;
    /// 4. the signer is the certificate that the signed attributes name, found in the token or
    ///    among `authorities`, and the envelope does not name another;
    /// 5. the signature over the attributes is that certificate's;
    /// 6. the certificate leads to a root of `authorities`, all valid at the token's time and the
    ///    signer for time-stamping only (RFC 3161 §2.3);
    /// 7. no certificate of that chain was revoked before the token's time, or later for a reason
    ///    that casts doubt on what was signed before (RFC 3161 §4).
    ///
    /// # Errors
    /// [`TokenRejected`] with the check that failed.
    pub fn verify(
        &self,
        data: &[u8],
        nonce: Option<&Nonce>,
        authorities: &Authorities,
    ) -> Result<VerifiedToken, TokenRejected> {
        self.verify_imprint(data)?;
        self.verify_nonce(nonce)?;
        let certificates = self.candidates(authorities);
        let signer = self.verify_signature(&certificates)?;
        let chain = self.chain(signer, &certificates, &authorities.roots)?;
        let revocation = self.verify_revocation(&chain, &authorities.revocation_lists)?;
        let expiries = chain.iter().map(|certificate| unix_seconds(certificate.not_after()));
        let not_after = expiries.collect::<Result<Vec<_>, _>>()?.into_iter().min().unwrap_or(0);
        Ok(VerifiedToken { chain, gen_time: self.info.gen_time, not_after, revocation })
    }

    /// Verifies all that needs no trusted root: steps 1 to 5 of [`Token::verify`], with the
    /// certificates of the token and of `others`. Shows that nothing was altered, not who stamped.
    ///
    /// # Errors
    /// [`TokenRejected`] with the check that failed.
    pub fn verify_integrity(
        &self,
        data: &[u8],
        nonce: Option<&Nonce>,
        others: &Authorities,
    ) -> Result<(), TokenRejected> {
        self.verify_imprint(data)?;
        self.verify_nonce(nonce)?;
        self.verify_signature(&self.candidates(others)).map(drop)
    }

    fn verify_imprint(&self, data: &[u8]) -> Result<(), TokenRejected> {
        let (algorithm, digest) = &self.info.imprint;
        let algorithm = strong(*algorithm, "imprint")?;
        if algorithm.digest(data).as_ref() == Some(digest) { Ok(()) } else { Err(TokenRejected::Imprint) }
    }

    fn verify_nonce(&self, nonce: Option<&Nonce>) -> Result<(), TokenRejected> {
        if nonce.is_none() || self.info.nonce.as_ref() == nonce { Ok(()) } else { Err(TokenRejected::Nonce) }
    }

    /// Certificates that may be the signer or lead from it to a root.
    fn candidates(&self, authorities: &Authorities) -> Vec<X509> {
        // What in the bag is no certificate cannot be the signer's, and takes nothing from the rest.
        let bag = self.certificates.iter().filter_map(|der| X509::from_der(der).ok());
        bag.chain(authorities.others.iter().cloned()).chain(authorities.roots.iter().cloned()).collect()
    }

    fn verify_signature<'a>(&self, certificates: &'a [X509]) -> Result<&'a X509, TokenRejected> {
        let info = &self.signer;
        let digest = strong(info.digest, "content digest")?;
        if digest.digest(&self.content).as_ref() != Some(&info.message_digest) {
            return Err(TokenRejected::MessageDigest);
        }
        let mut named = None;
        for certificate in certificates {
            if info.names(certificate)? {
                named = Some(certificate);
                break;
            }
        }
        let signer = named.ok_or(TokenRejected::SignerMissing)?;
        if !info.identifier.is_of(signer)? {
            return Err(TokenRejected::SignerOther);
        }
        let key = signer.public_key()?;
        if info.is_signed_by(&key, digest)? { Ok(signer) } else { Err(TokenRejected::Signature) }
    }

    fn chain(&self, signer: &X509Ref, others: &[X509], roots: &[X509]) -> Result<Vec<X509>, TokenRejected> {
        let store = self.store(roots)?;
        let mut helpers = Stack::new()?;
        for other in others {
            helpers.push(other.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        let verified = context.init(&store, signer, &helpers, |context| {
            if context.verify_cert()? {
                let chain = context.chain().map(|chain| chain.iter().map(ToOwned::to_owned).collect());
                return Ok(Ok(chain.unwrap_or_default()));
            }
            Ok(Err(context.error().error_string()))
        })?;
        verified.map_err(|reason| TokenRejected::Chain { reason })
    }

    /// The roots, to be asked at the token's time for time-stamping.
    fn store(&self, roots: &[X509]) -> Result<X509Store, TokenRejected> {
        let out_of_range = TokenRejected::Chain { reason: "the token's time is out of range" };
        let time = i64::try_from(self.info.gen_time.seconds()).map_err(|_| out_of_range)?;
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_time(time);
        parameters.set_purpose(X509PurposeId::TIMESTAMP_SIGN)?;
        let mut store = X509StoreBuilder::new()?;
        store.set_param(&parameters)?;
        for root in roots {
            store.add_cert(root.clone())?;
        }
        Ok(store.build())
    }

    fn verify_revocation(&self, chain: &[X509], lists: &[Arc<X509Crl>]) -> Result<Revocation, TokenRejected> {
        let mut known = Revocation::Checked;
        for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            let key = issuer.public_key()?;
            let mut listed = false;
            for list in lists {
                if !same_name(list.issuer_name(), certificate.issuer_name())? || !list.verify(&key).unwrap_or(false) {
                    continue;
                }
                listed = true;
                if let CrlStatus::Revoked(entry) = list.get_by_cert(certificate)
                    && (unix_seconds(entry.revocation_date())? <= self.info.gen_time.seconds()
                        || !spares_the_past(entry.extension::<ReasonCode>()?.map(|(_, reason)| reason)))
                {
                    return Err(TokenRejected::Revoked { subject: subject(certificate) });
                }
            }
            if !listed {
                known = Revocation::Unknown;
            }
        }
        Ok(known)
    }
}

impl SignerInfo {
    /// Whether every certificate identifier among the signed attributes is of `certificate`.
    fn names(&self, certificate: &X509Ref) -> Result<bool, ErrorStack> {
        let der = certificate.to_der()?;
        let is_of = |(algorithm, hash): &(Option<DigestAlgorithm>, Vec<u8>)| {
            algorithm.and_then(|algorithm| algorithm.digest(&der)).as_ref() == Some(hash)
        };
        Ok(self.certificate_ids.iter().all(is_of))
    }

    /// Whether the signature over the attributes is `key`'s. A signature that openssl cannot take
    /// apart is not.
    fn is_signed_by(&self, key: &PKey<Public>, digest: DigestAlgorithm) -> Result<bool, TokenRejected> {
        let unaccepted = TokenRejected::Algorithm { what: "signature" };
        let algorithm = match (self.signature_algorithm.as_slice(), key.id()) {
            // The digest is named apart, as RFC 5652 §5.3 has it for plain RSA.
            (RSA, Id::RSA) => Some(digest),
            (SHA256_WITH_RSA, Id::RSA) | (ECDSA_WITH_SHA256, Id::EC) => Some(DigestAlgorithm::Sha256),
            (SHA384_WITH_RSA, Id::RSA) | (ECDSA_WITH_SHA384, Id::EC) => Some(DigestAlgorithm::Sha384),
            (SHA512_WITH_RSA, Id::RSA) | (ECDSA_WITH_SHA512, Id::EC) => Some(DigestAlgorithm::Sha512),
            (ED25519, Id::ED25519) => None,
            _ => return Err(unaccepted),
        };
        let verified = match algorithm {
            Some(algorithm) => Verifier::new(algorithm.message_digest(), key),
            None => Verifier::new_without_digest(key),
        };
        let mut verifier = verified?;
        Ok(verifier.verify_oneshot(&self.signature, &self.signed).unwrap_or(false))
    }
}

impl SignerIdentifier {
    fn is_of(&self, certificate: &X509Ref) -> Result<bool, ErrorStack> {
        Ok(match self {
            Self::IssuerAndSerial(issuer, serial) => {
                certificate.issuer_name().to_der()? == *issuer
                    && certificate.serial_number().to_bn()?.to_vec() == *serial
            }
            Self::KeyId(key_id) => certificate.subject_key_id().is_some_and(|found| found.as_slice() == key_id),
        })
    }
}

/// SHA-1 and what is not known must not carry a stamp.
fn strong(algorithm: Option<DigestAlgorithm>, what: &'static str) -> Result<DigestAlgorithm, TokenRejected> {
    algorithm.filter(|known| *known != DigestAlgorithm::Sha1).ok_or(TokenRejected::Algorithm { what })
}

/// Whether a revocation after the token's time leaves the token alone: unspecified (0),
/// affiliationChanged (3), superseded (4), cessationOfOperation (5), and said so. Source: RFC 3161 §4.
fn spares_the_past(reason: Option<Asn1Enumerated>) -> bool {
    reason.and_then(|reason| reason.get_i64().ok()).is_some_and(|reason| matches!(reason, 0 | 3 | 4 | 5))
}

fn same_name(left: &openssl::x509::X509NameRef, right: &openssl::x509::X509NameRef) -> Result<bool, ErrorStack> {
    Ok(left.try_cmp(right)?.is_eq())
}

fn subject(certificate: &X509Ref) -> String {
    let entries = certificate.subject_name().entries();
    let texts = entries.filter_map(|entry| entry.data().to_string().ok());
    texts.collect::<Vec<_>>().join(", ")
}

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.1.11
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// 1.2.840.113549.1.1.12
const SHA384_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
/// 1.2.840.113549.1.1.13
const SHA512_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
/// 1.2.840.10045.4.3.2
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 1.2.840.10045.4.3.3
const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// 1.2.840.10045.4.3.4
const ECDSA_WITH_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
