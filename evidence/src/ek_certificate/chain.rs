//! Tracing an EK certificate to a root the operator trusts.

use super::certificate::{Certificate, Irregularity, MalformedCertificate};
use super::{CHAIN_CERTIFICATES_MAX, EkCertificate};
use crate::algorithm::Digest;
use crate::crypto::CryptoUnavailable;

/// The authorities an operator trusts for EK certificates: self-signed roots, and intermediates that lead to them.
///
/// An intermediate is only a stepping stone: a chain must end in a root.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    roots: Vec<Certificate>,
    intermediates: Vec<Certificate>,
}

impl TrustStore {
    /// A store that trusts nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all certificates of one file (one in DER, any number in PEM), or none if one is broken; returns how many
    /// were new.
    ///
    /// A self-issued certificate whose own signature verifies becomes a root, all others are intermediates.
    ///
    /// # Errors
    /// [`MalformedTrustFile`] with the file's name.
    pub fn add(&mut self, file: &str, bytes: &[u8]) -> Result<usize, MalformedTrustFile> {
        let broken = |source| MalformedTrustFile { file: file.to_owned(), source };
        if bytes.len() > TRUST_FILE_BYTES_MAX {
            return Err(broken(MalformedCertificate::TooLong { max: TRUST_FILE_BYTES_MAX, found: bytes.len() }));
        }
        let mut sorted = Vec::new();
        for certificate in Certificate::parse_all(bytes, TRUST_FILE_CERTIFICATES_MAX).map_err(broken)? {
            let signed = certificate.is_signed_by(&certificate).map_err(|error| broken(error.into()))?;
            let root = certificate.is_self_issued() && signed == Some(true);
            sorted.push((certificate, root));
        }
        let mut added = 0;
        for (certificate, root) in sorted {
            let place = if root { &mut self.roots } else { &mut self.intermediates };
            if place.iter().all(|known| known.sha256() != certificate.sha256()) {
                place.push(certificate);
                added += 1;
            }
        }
        Ok(added)
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }

    /// The intermediates.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// Traces `certificate` to a root of this store, through its intermediates and `presented`, at a point in time.
    ///
    /// `presented` are certificates the agent sent along, untrusted: they may close a gap, never be a root. Each
    /// certificate is checked in order: no unknown critical extension; valid at `at_unix_seconds`. Each issuer on the
    /// way: its name is the issuer's name; it may issue (basic constraints, path length, key usage); the signature
    /// verifies under its key, by direct RSA when that key is named RSAES-OAEP. Revocation lists are not consulted.
    ///
    /// # Errors
    /// [`EkCertificateRejected`]: of several paths that fail, the reason of the one that came furthest.
    pub fn verify_chain(
        &self,
        certificate: &EkCertificate,
        presented: &[Certificate],
        at_unix_seconds: i64,
    ) -> Result<ChainReport, EkCertificateRejected> {
        if presented.len() > CHAIN_CERTIFICATES_MAX {
            let (max, found) = (CHAIN_CERTIFICATES_MAX, presented.len());
            return Err(EkCertificateRejected::TooManyPresented { max, found });
        }
        check_itself(certificate, at_unix_seconds)?;
        let mut search =
            Search { store: self, presented, at_unix_seconds, checks_left: SIGNATURE_CHECKS_MAX, furthest: None };
        let mut path: Vec<&Certificate> = vec![certificate];
        if search.climb(&mut path)? {
            return Ok(ChainReport::new(&path));
        }
        let nothing = || unknown_issuer(certificate);
        Err(search.furthest.map_or_else(nothing, |(_, reason)| reason))
    }
}

/// A depth-first walk from issuer to issuer.
struct Search<'a> {
    store: &'a TrustStore,
    presented: &'a [Certificate],
    at_unix_seconds: i64,
    checks_left: usize,
    /// How far the best failing path came, and why it failed.
    furthest: Option<(usize, EkCertificateRejected)>,
}

impl<'a> Search<'a> {
    /// Extends `path` to a root; false, and `path` as it was, if there is none.
    fn climb(&mut self, path: &mut Vec<&'a Certificate>) -> Result<bool, EkCertificateRejected> {
        let Some(last) = path.last().copied() else { return Ok(false) };
        let store = self.store;
        for root in store.roots.iter().filter(|root| last.names_issuer(root)) {
            if self.accepts(path, root)? {
                path.push(root);
                return Ok(true);
            }
        }
        for issuer in store.intermediates.iter().chain(self.presented).filter(|issuer| last.names_issuer(issuer)) {
            // A cycle of cross-signed authorities leads nowhere.
            if path.iter().any(|seen| seen.sha256() == issuer.sha256()) {
                continue;
            }
            if path.len() >= CHAIN_LENGTH_MAX {
                self.note(path.len(), EkCertificateRejected::TooLong { max: CHAIN_LENGTH_MAX });
                continue;
            }
            if self.accepts(path, issuer)? {
                path.push(issuer);
                if self.climb(path)? {
                    return Ok(true);
                }
                path.pop();
            }
        }
        if self.furthest.as_ref().is_none_or(|(depth, _)| *depth < path.len()) {
            self.note(path.len(), unknown_issuer(last));
        }
        Ok(false)
    }

    /// Whether `issuer` issued the last certificate of `path`; if not, the reason is noted.
    fn accepts(&mut self, path: &[&'a Certificate], issuer: &Certificate) -> Result<bool, EkCertificateRejected> {
        let Some(last) = path.last() else { return Ok(false) };
        let reason = match check_issuer(path.len() - 1, issuer, self.at_unix_seconds) {
            Ok(()) => {
                // Presented certificates could otherwise make the walk as long as they like.
                if self.checks_left == 0 {
                    return Err(EkCertificateRejected::TooManyPaths { max: SIGNATURE_CHECKS_MAX });
                }
                self.checks_left -= 1;
                let (subject, issuer_name) = (last.subject().to_owned(), issuer.subject().to_owned());
                match last.is_signed_by(issuer)? {
                    Some(true) => return Ok(true),
                    Some(false) => EkCertificateRejected::Signature { subject, issuer: issuer_name },
                    None => EkCertificateRejected::SignatureAlgorithm { subject },
                }
            }
            Err(reason) => reason,
        };
        self.note(path.len(), reason);
        Ok(false)
    }

    fn note(&mut self, depth: usize, reason: EkCertificateRejected) {
        if self.furthest.as_ref().is_none_or(|(furthest, _)| depth >= *furthest) {
            self.furthest = Some((depth, reason));
        }
    }
}

fn unknown_issuer(certificate: &Certificate) -> EkCertificateRejected {
    EkCertificateRejected::UnknownIssuer {
        subject: certificate.subject().to_owned(),
        issuer: certificate.issuer().to_owned(),
    }
}

/// What every certificate of a chain must fulfil.
fn check_itself(certificate: &Certificate, at: i64) -> Result<(), EkCertificateRejected> {
    let subject = || certificate.subject().to_owned();
    if let Some(oid) = &certificate.extensions().unknown_critical {
        return Err(EkCertificateRejected::UnknownCriticalExtension { subject: subject(), oid: oid.clone() });
    }
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if at < not_before {
        return Err(EkCertificateRejected::NotYetValid { subject: subject(), not_before, at });
    }
    if at > not_after {
        return Err(EkCertificateRejected::Expired { subject: subject(), not_after, at });
    }
    Ok(())
}

/// What an authority with `below` authorities under it must fulfil.
fn check_issuer(below: usize, issuer: &Certificate, at: i64) -> Result<(), EkCertificateRejected> {
    check_itself(issuer, at)?;
    let subject = || issuer.subject().to_owned();
    let extensions = issuer.extensions();
    match extensions.authority {
        Some((true, Some(limit))) if usize::try_from(limit).is_ok_and(|limit| below > limit) => {
            return Err(EkCertificateRejected::PathLength { subject: subject(), limit });
        }
        Some((true, _)) => {}
        // Without the extension anybody's certificate would be an authority's; roots of version 1 have none.
        None if issuer.is_self_issued() => {}
        Some((false, _)) | None => return Err(EkCertificateRejected::NotAnAuthority { subject: subject() }),
    }
    if extensions.signs_certificates == Some(false) {
        return Err(EkCertificateRejected::NotAnAuthority { subject: subject() });
    }
    Ok(())
}

/// How an EK certificate was traced to a root.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ChainReport {
    /// From the EK certificate to the root.
    pub links: Vec<ChainLink>,
}

impl ChainReport {
    fn new(path: &[&Certificate]) -> Self {
        let last = path.len().saturating_sub(1);
        let link = |(position, certificate): (usize, &&Certificate)| {
            let mut irregularities = certificate.irregularities().to_vec();
            // A root is trusted for being there, not for its own signature.
            if position != last && certificate.has_sha1_signature() {
                irregularities.push(Irregularity::Sha1Signature);
            }
            ChainLink { subject: certificate.subject().to_owned(), sha256: *certificate.sha256(), irregularities }
        };
        Self { links: path.iter().enumerate().map(link).collect() }
    }

    /// The root the chain ends in.
    #[must_use]
    pub fn root(&self) -> Option<&ChainLink> {
        self.links.last()
    }
}

/// One certificate of a verified chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Its subject, for people to read.
    pub subject: String,
    /// SHA-256 of its DER.
    pub sha256: Digest,
    /// What was tolerated.
    pub irregularities: Vec<Irregularity>,
}

/// Why an EK certificate is not believed. Times are seconds since 1970.
#[derive(Debug, thiserror::Error)]
pub enum EkCertificateRejected {
    /// A certificate of the chain is past its validity.
    #[error("certificate {subject:?} expired at {not_after}, the time is {at}")]
    Expired {
        /// Whose certificate; empty for most EK certificates.
        subject: String,
        /// Last second of validity.
        not_after: i64,
        /// The time of the check.
        at: i64,
    },
    /// An issuer on the way may not issue certificates.
    #[error("certificate {subject:?} is not one of a certification authority")]
    NotAnAuthority {
        /// The issuer.
        subject: String,
    },
    /// A certificate of the chain is not valid yet.
    #[error("certificate {subject:?} is valid from {not_before} on, the time is {at}")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// First second of validity.
        not_before: i64,
        /// The time of the check.
        at: i64,
    },
    /// More authorities stand below one than it allows.
    #[error("authority {subject:?} allows {limit} authorities below it, the chain has more")]
    PathLength {
        /// The authority.
        subject: String,
        /// How many it allows.
        limit: u32,
    },
    /// The signature does not verify under the issuer's key.
    #[error("certificate {subject:?} is not signed by {issuer:?}, whom it names as issuer")]
    Signature {
        /// Whose certificate.
        subject: String,
        /// The issuer tried.
        issuer: String,
    },
    /// The signature's algorithm is not supported.
    #[error("certificate {subject:?} is signed with an unsupported algorithm")]
    SignatureAlgorithm {
        /// Whose certificate.
        subject: String,
    },
    /// The chain goes on after the named limit.
    #[error("the chain has more than {max} certificates")]
    TooLong {
        /// The named limit.
        max: usize,
    },
    /// Following all possible issuers would take too much work.
    #[error("more than {max} signature checks were needed to find a chain")]
    TooManyPaths {
        /// The named limit.
        max: usize,
    },
    /// More certificates were presented than a chain has.
    #[error("at most {max} certificates may be presented with an EK certificate, found {found}")]
    TooManyPresented {
        /// The named limit.
        max: usize,
        /// How many were presented.
        found: usize,
    },
    /// The question could not be answered, so the certificate is not believed.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
    /// A certificate of the chain demands something that is not understood.
    #[error("certificate {subject:?} has the unknown critical extension {oid}")]
    UnknownCriticalExtension {
        /// Whose certificate.
        subject: String,
        /// The extension's object identifier.
        oid: String,
    },
    /// No trusted or presented certificate has the issuer's name.
    #[error("the issuer {issuer:?} of certificate {subject:?} is not known; if it is trusted, add its certificate")]
    UnknownIssuer {
        /// Where the chain broke off.
        subject: String,
        /// The missing issuer.
        issuer: String,
    },
}

/// A file of trusted certificates that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file} is no file of certificates")]
pub struct MalformedTrustFile {
    /// The name given to [`TrustStore::add`].
    pub file: String,
    /// What is wrong with it.
    pub source: MalformedCertificate,
}

/// The longest vendor chain (Intel ODCA) has 6 certificates from EK to root; two more for good measure.
const CHAIN_LENGTH_MAX: usize = 8;
/// Real chains take at most a dozen checks, several issuers sharing a name included; below 5 ms of work in all.
const SIGNATURE_CHECKS_MAX: usize = 64;
/// A bundle of all known vendors has 169 certificates and 350 KB; a good ten times that.
const TRUST_FILE_BYTES_MAX: usize = 4_194_304;
/// See [`TRUST_FILE_BYTES_MAX`].
const TRUST_FILE_CERTIFICATES_MAX: usize = 2_048;
