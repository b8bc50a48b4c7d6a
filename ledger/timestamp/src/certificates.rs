//! Whom a verifier trusts to stamp, and what helps to get there.

use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::x509::{X509, X509Crl, X509Ref};

/// Trusted roots, and certificates and revocation lists that are worth what their signatures are.
#[derive(Clone, Default)]
pub struct Authorities {
    /// Certificates that may close a gap between a signer and a root, or be the signer's own.
    pub(crate) others: Vec<X509>,
    pub(crate) revocation_lists: Vec<Arc<X509Crl>>,
    pub(crate) roots: Vec<X509>,
}

/// Why a file adds nothing.
#[derive(Debug, thiserror::Error)]
pub enum MalformedAuthorities {
    /// The file holds no certificate.
    #[error("no certificate in PEM")]
    Empty,
    /// openssl does not take the bytes.
    #[error("not certificates in PEM or a revocation list in DER or PEM")]
    Unreadable {
        /// openssl's reasons.
        source: ErrorStack,
    },
}

impl Authorities {
    /// Trusts nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts every certificate of a PEM file that issued itself; the others only help.
    ///
    /// # Errors
    /// [`MalformedAuthorities`], with nothing added.
    pub fn trust_pem(&mut self, pem: &[u8]) -> Result<(), MalformedAuthorities> {
        for certificate in from_pem(pem)? {
            let issued_itself = certificate.issued(&certificate) == openssl::x509::X509VerifyResult::OK;
            if issued_itself { self.roots.push(certificate) } else { self.others.push(certificate) }
        }
        Ok(())
    }

    /// Takes certificates of a PEM file as help, whatever they are: none of them is trusted.
    ///
    /// # Errors
    /// [`MalformedAuthorities`], with nothing added.
    pub fn help_pem(&mut self, pem: &[u8]) -> Result<(), MalformedAuthorities> {
        self.others.extend(from_pem(pem)?);
        Ok(())
    }

    /// Takes a revocation list, in DER or PEM. It counts if a certificate's issuer has signed it.
    ///
    /// # Errors
    /// [`MalformedAuthorities::Unreadable`].
    pub fn add_revocation_list(&mut self, bytes: &[u8]) -> Result<(), MalformedAuthorities> {
        let list = if bytes.starts_with(b"-----") { X509Crl::from_pem(bytes) } else { X509Crl::from_der(bytes) };
        let list = list.map_err(|source| MalformedAuthorities::Unreadable { source })?;
        self.revocation_lists.push(Arc::new(list));
        Ok(())
    }
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (roots, others, lists) = (self.roots.len(), self.others.len(), self.revocation_lists.len());
        write!(f, "Authorities({roots} roots, {others} others, {lists} revocation lists)")
    }
}

fn from_pem(pem: &[u8]) -> Result<Vec<X509>, MalformedAuthorities> {
    let found = X509::stack_from_pem(pem).map_err(|source| MalformedAuthorities::Unreadable { source })?;
    if found.is_empty() { Err(MalformedAuthorities::Empty) } else { Ok(found) }
}

/// Where a certificate says that its issuer's revocation list is: addresses by `http` or `https`.
#[must_use]
pub fn crl_addresses(certificate: &X509Ref) -> Vec<String> {
    let mut addresses = Vec::new();
    for point in certificate.crl_distribution_points().iter().flatten() {
        let names = point.distpoint().and_then(|name| name.fullname());
        let uris = names.iter().flat_map(|names| names.iter()).filter_map(|name| name.uri());
        addresses.extend(uris.filter(|uri| uri.starts_with("http")).map(str::to_owned));
    }
    addresses
}
