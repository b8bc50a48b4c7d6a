//! The client's side of TLS.

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::server::show;
use super::{CertificatePin, Identity, TlsError};

/// Whom a client trusts and what it shows.
#[derive(Clone, Debug)]
pub struct ClientTlsConfig {
    /// The authorities a server's certificate may chain to. None: only pinned servers are
    /// trusted. The system's own authorities never are.
    pub authorities: Vec<X509>,
    /// Whether a server's certificate must name the host that was asked for.
    pub host_names: HostNames,
    /// What is shown to servers that ask for a certificate.
    pub identity: Option<Identity>,
}

/// Whether a certificate from a trusted authority serves for any host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostNames {
    /// The certificate's subject alternative names must include the host asked for.
    Checked,
    /// Any host with a certificate of the authority will do, which is right only for an
    /// authority that serves this installation alone, as Keylime's does.
    DangerIgnored,
}

/// A client's TLS configuration, ready for use and cheap to copy.
#[derive(Clone)]
pub struct ClientTls {
    connector: SslConnector,
    host_names: HostNames,
}

impl ClientTls {
    /// Takes in a configuration.
    ///
    /// # Errors
    /// [`TlsError`] for what openssl refuses, such as a key below its security level.
    pub fn new(config: &ClientTlsConfig) -> Result<Self, TlsError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())
            .and_then(|mut builder| {
                builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
                builder.set_verify(SslVerifyMode::PEER);
                // One read takes a whole record instead of its head first.
                builder.set_read_ahead(true);
                Ok(builder)
            })
            .map_err(TlsError::during("set up a TLS client"))?;
        let store = store(&config.authorities).map_err(TlsError::during("use the server authorities' certificates"))?;
        // This replaces the store that the builder filled with the system's authorities.
        builder.set_cert_store(store);
        if let Some(identity) = &config.identity {
            show(&mut builder, identity).map_err(TlsError::during("use the client's certificate"))?;
        }
        Ok(Self { connector: builder.build(), host_names: config.host_names })
    }

    /// One connection's state: to `host` (a name or an address without brackets), trusting the
    /// pinned certificate alone if there is a pin, the authorities otherwise.
    pub(crate) fn ssl(&self, host: &str, pin: Option<CertificatePin>) -> Result<Ssl, ErrorStack> {
        let check_name = pin.is_none() && self.host_names == HostNames::Checked;
        let mut ssl = self.connector.configure()?.verify_hostname(check_name).into_ssl(host)?;
        if let Some(pin) = pin {
            ssl.set_verify_callback(SslVerifyMode::PEER, move |fine, context| pin.accepts(fine, context));
        }
        Ok(ssl)
    }

    /// Whether a finished handshake is with whom we meant; a second look at what the handshake
    /// itself has enforced, before the first byte is sent.
    pub(crate) fn is_expected(ssl: &openssl::ssl::SslRef, pin: Option<CertificatePin>) -> bool {
        let Some(certificate) = ssl.peer_certificate() else {
            return false;
        };
        pin.is_none_or(|pin| pin.is(&certificate))
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("host_names", &self.host_names).finish_non_exhaustive()
    }
}

fn store(authorities: &[X509]) -> Result<openssl::x509::store::X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(authority.clone())?;
    }
    Ok(store.build())
}
