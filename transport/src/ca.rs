//! A certificate authority of one's own, in the file layout of Keylime's `cv_ca`, and the
//! certificates an agent signs for itself. Calls block on the disk.
//!
//! Keys come first: a key file is written before the certificate over it, and a missing, foreign
//! or ageing certificate is made anew over the same key. So every call can be repeated, and a
//! crash between two files leaves nothing that the next call does not mend.

mod certificate;

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Ref};
use zeroize::Zeroizing;

use crate::router::Role;
use crate::secret_file;
use crate::tls::{Identity, IdentityError, load_key};

/// A certificate authority: its certificate and the key that signs.
#[derive(Clone, Debug)]
pub struct Authority(Identity);

/// Which kind of key is made where there is none yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum KeyAlgorithm {
    /// ECDSA over P-256: small and fast.
    #[default]
    EcP256,
    /// RSA with 3072 bits, for peers that want RSA; of the same strength.
    Rsa3072,
}

/// What a certificate is for and whom it names.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Addresses in the subject alternative name.
    pub addresses: Vec<IpAddr>,
    /// The subject's common name, 1 to 64 bytes (X.520's `ub-common-name`).
    pub common_name: String,
    /// Host names in the subject alternative name.
    pub dns_names: Vec<String>,
    /// Server or client, and as what.
    pub usage: Usage,
}

/// The extended key usage, and with it the OU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Usage {
    /// Opens connections, with the rights of the role.
    Client(Role),
    /// Accepts connections, and serves for nothing else.
    Server,
}

/// Why there is no authority or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The folder was neither there nor could it be made.
    #[error("cannot create the folder {path}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in the folder is not used, above all a key that others can read.
    #[error("cannot use the certificate or key in {path}", path = path.display())]
    Identity {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: IdentityError,
    },
    /// openssl did not make it; a common name of more than 64 bytes is a cause.
    #[error("cannot make a certificate for {common_name:?}")]
    Openssl {
        /// Whom it was for.
        common_name: String,
        /// Why not.
        source: ErrorStack,
    },
    /// A file was not written.
    #[error("a certificate or key is not stored")]
    Write(#[source] secret_file::WriteError),
}

impl Leaf {
    /// A server's: `localhost` and the loopback addresses beside what is given.
    pub fn server(common_name: impl Into<String>, names: &[String], addresses: &[IpAddr]) -> Self {
        Self {
            addresses: with_loopback(addresses),
            common_name: common_name.into(),
            dns_names: std::iter::once("localhost".to_owned()).chain(names.iter().cloned()).collect(),
            usage: Usage::Server,
        }
    }

    /// A client's, named `client` in its subject alternative name as Keylime's are.
    pub fn client(common_name: impl Into<String>, role: Role) -> Self {
        Self {
            addresses: Vec::new(),
            common_name: common_name.into(),
            dns_names: vec!["client".to_owned()],
            usage: Usage::Client(role),
        }
    }
}

impl Authority {
    /// The authority in `folder` (`cacert.crt`, `ca-private.pem`, `ca-public.pem`), made there if
    /// there is none: ten years, no authorities below it. The folder is made with mode 0700.
    ///
    /// # Errors
    /// [`CaError`]. An authority whose certificate does not fit its key is an error and is left
    /// alone: a new one would shut out everyone who trusts the old.
    pub fn open_or_create(folder: &Path, common_name: &str, algorithm: KeyAlgorithm) -> Result<Self, CaError> {
        make_folder(folder)?;
        let (key_path, certificate_path) = (folder.join(CA_KEY), folder.join(CA_CERTIFICATE));
        if certificate_path.exists() {
            return Identity::load(&certificate_path, &key_path).map(Self).map_err(within(folder));
        }
        let key = open_or_create_key(folder, "ca", algorithm)?;
        let certificate = certificate::authority(&key, common_name).map_err(naming(common_name))?;
        store_certificate(&certificate_path, &certificate)?;
        Identity::new(certificate, Vec::new(), key).map(Self).map_err(within(folder))
    }

    /// The authority's own certificate, which everyone who trusts it needs.
    pub fn certificate(&self) -> &X509Ref {
        self.0.certificate()
    }

    /// A certificate over a new key, for one year, with both in memory alone.
    ///
    /// # Errors
    /// [`CaError::Openssl`] above all for a common name that does not fit.
    pub fn issue(&self, leaf: &Leaf, algorithm: KeyAlgorithm) -> Result<Identity, CaError> {
        let key = new_key(algorithm).map_err(naming(&leaf.common_name))?;
        self.certify(leaf, key, Path::new(""))
    }

    /// The identity `<name>-cert.crt`, `<name>-private.pem`, `<name>-public.pem` in `folder`.
    ///
    /// What is missing is made. A certificate is made anew, over the key there is, when it is
    /// another authority's, ends within [`RENEWED_BEFORE_DAYS`], or names other hosts or another
    /// subject than `leaf`. Names are `server` and `client` where Keylime's tools are to find them.
    ///
    /// # Errors
    /// [`CaError`], as for a key file others can read.
    pub fn open_or_issue(
        &self,
        folder: &Path,
        name: &str,
        leaf: &Leaf,
        algorithm: KeyAlgorithm,
    ) -> Result<Identity, CaError> {
        make_folder(folder)?;
        let key = open_or_create_key(folder, name, algorithm)?;
        let path = folder.join(format!("{name}-cert.crt"));
        if let Some(certificate) = read_certificate(&path)
            && self.still_good(&certificate, leaf).map_err(naming(&leaf.common_name))?
            && let Ok(identity) = Identity::new(certificate, Vec::new(), key.clone())
        {
            return Ok(identity);
        }
        let identity = self.certify(leaf, key, folder)?;
        store_certificate(&path, identity.certificate())?;
        Ok(identity)
    }

    fn certify(&self, leaf: &Leaf, key: PKey<Private>, folder: &Path) -> Result<Identity, CaError> {
        let certificate = certificate::leaf(&self.0, &key, leaf).map_err(naming(&leaf.common_name))?;
        Identity::new(certificate, Vec::new(), key).map_err(within(folder))
    }

    fn still_good(&self, certificate: &X509Ref, leaf: &Leaf) -> Result<bool, ErrorStack> {
        let authority = self.certificate().public_key()?;
        Ok(certificate.verify(&authority)? && outlasts_renewal(certificate)? && certificate::names(certificate, leaf))
    }
}

/// An agent's identity in `folder` (`server-cert.crt`, `server-private.pem`): self-signed, named
/// after the agent, ECDSA over P-256, one year, for the loopback names and `addresses`.
///
/// Made anew over the same key when it names another agent or other addresses, or ends within
/// [`RENEWED_BEFORE_DAYS`]; peers pin it, so a new one has to be registered before it is used.
///
/// # Errors
/// [`CaError`], as for a key file others can read or an `agent_id` of more than 64 bytes.
pub fn open_or_self_sign(folder: &Path, agent_id: &str, addresses: &[IpAddr]) -> Result<Identity, CaError> {
    make_folder(folder)?;
    let key = open_or_create_key(folder, "server", KeyAlgorithm::EcP256)?;
    let leaf = agent_leaf(agent_id, addresses);
    let path = folder.join("server-cert.crt");
    if let Some(certificate) = read_certificate(&path)
        && outlasts_renewal(&certificate).map_err(naming(agent_id))?
        && certificate::names(&certificate, &leaf)
        && let Ok(identity) = Identity::new(certificate, Vec::new(), key.clone())
    {
        return Ok(identity);
    }
    let certificate = certificate::self_signed(&key, &leaf).map_err(naming(agent_id))?;
    store_certificate(&path, &certificate)?;
    Identity::new(certificate, Vec::new(), key).map_err(within(folder))
}

/// An agent's self-signed identity as [`open_or_self_sign`] makes it, in memory alone.
///
/// # Errors
/// [`CaError::Openssl`] above all for an `agent_id` of more than 64 bytes.
pub fn self_sign(agent_id: &str, addresses: &[IpAddr]) -> Result<Identity, CaError> {
    let key = new_key(KeyAlgorithm::EcP256).map_err(naming(agent_id))?;
    let leaf = agent_leaf(agent_id, addresses);
    let certificate = certificate::self_signed(&key, &leaf).map_err(naming(agent_id))?;
    Identity::new(certificate, Vec::new(), key).map_err(within(Path::new("")))
}

fn agent_leaf(agent_id: &str, addresses: &[IpAddr]) -> Leaf {
    Leaf::server(agent_id, &["localhost.domain".to_owned()], addresses)
}

fn with_loopback(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut all = vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    for address in addresses {
        // 0.0.0.0 and :: are where a server listens, not where anyone finds it.
        if !address.is_unspecified() && !all.contains(address) {
            all.push(*address);
        }
    }
    all
}

fn outlasts_renewal(certificate: &X509Ref) -> Result<bool, ErrorStack> {
    Ok(certificate.not_after() > &*Asn1Time::days_from_now(RENEWED_BEFORE_DAYS)?)
}

fn make_folder(path: &Path) -> Result<(), CaError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| CaError::Folder { path: path.to_owned(), source })
}

fn open_or_create_key(folder: &Path, name: &str, algorithm: KeyAlgorithm) -> Result<PKey<Private>, CaError> {
    let path = folder.join(format!("{name}-private.pem"));
    match load_key(&path) {
        Ok(key) => return Ok(key),
        Err(IdentityError::KeyFile(error)) if error.is_missing() => {}
        Err(error) => return Err(within(folder)(error)),
    }
    let key = new_key(algorithm).map_err(naming(name))?;
    let pem = Zeroizing::new(key.private_key_to_pem_pkcs8().map_err(naming(name))?);
    let public = key.public_key_to_pem().map_err(naming(name))?;
    secret_file::write(&path, &pem).map_err(CaError::Write)?;
    let public_path = folder.join(format!("{name}-public.pem"));
    secret_file::write_public(&public_path, &public).map_err(CaError::Write)?;
    Ok(key)
}

fn new_key(algorithm: KeyAlgorithm) -> Result<PKey<Private>, ErrorStack> {
    match algorithm {
        KeyAlgorithm::EcP256 => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)
        }
        KeyAlgorithm::Rsa3072 => PKey::from_rsa(Rsa::generate(3072)?),
    }
}

/// The certificate in a file, `None` for anything that is none: it can be made anew.
fn read_certificate(path: &Path) -> Option<X509> {
    X509::from_pem(&std::fs::read(path).ok()?).ok()
}

fn store_certificate(path: &Path, certificate: &X509Ref) -> Result<(), CaError> {
    let pem = certificate.to_pem().map_err(naming(&path.to_string_lossy()))?;
    secret_file::write_public(path, &pem).map_err(CaError::Write)
}

fn naming(common_name: &str) -> impl FnOnce(ErrorStack) -> CaError {
    let common_name = common_name.to_owned();
    |source| CaError::Openssl { common_name, source }
}

fn within(folder: &Path) -> impl FnOnce(IdentityError) -> CaError {
    let path = folder.to_owned();
    |source| CaError::Identity { path, source }
}

const CA_CERTIFICATE: &str = "cacert.crt";
const CA_KEY: &str = "ca-private.pem";

/// How long before its end a certificate is replaced, in days: a month, so that a server that is
/// restarted with each month's updates never serves an expired one.
pub const RENEWED_BEFORE_DAYS: u32 = 30;
