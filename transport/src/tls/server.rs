//! The server's side of TLS.

use std::sync::{Arc, PoisonError, RwLock};

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::{Identity, TlsError};

/// Whether clients show a certificate, and whom they may have it from.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// Nobody is asked for one.
    None,
    /// A client may go without and is anonymous then. One it does show must chain to one of
    /// these authorities, be within its dates and, if it names usages, be for clients: otherwise
    /// there is no connection.
    Optional(Vec<X509>),
    /// As [`ClientAuth::Optional`], but without a certificate there is no connection.
    Required(Vec<X509>),
}

/// What a server shows and demands, shared by all who hold a copy and replaceable while it runs.
#[derive(Clone)]
pub struct ServerTls(Arc<RwLock<SslAcceptor>>);

impl ServerTls {
    /// Shows `identity` to every client.
    ///
    /// # Errors
    /// [`TlsError`] for what openssl refuses, such as a key below its security level.
    pub fn new(identity: &Identity, clients: &ClientAuth) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(acceptor(identity, clients)?))))
    }

    /// Makes connections from now on use another identity and other authorities, as after a
    /// renewal; those that exist go on. On an error nothing changes.
    ///
    /// # Errors
    /// As for [`ServerTls::new`].
    pub fn replace(&self, identity: &Identity, clients: &ClientAuth) -> Result<(), TlsError> {
        let acceptor = acceptor(identity, clients)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    pub(crate) fn ssl(&self) -> Result<Ssl, ErrorStack> {
        Ssl::new(self.0.read().unwrap_or_else(PoisonError::into_inner).context())
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn acceptor(identity: &Identity, clients: &ClientAuth) -> Result<SslAcceptor, TlsError> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())
        .and_then(|mut builder| {
            builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
            // Without resumption every handshake verifies the client's certificate; without
            // renegotiation nobody changes who they are in the middle, or makes us work for free.
            builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
            builder.set_session_cache_mode(SslSessionCacheMode::OFF);
            builder.set_num_tickets(0)?;
            // One read takes a whole record instead of its head first.
            builder.set_read_ahead(true);
            Ok(builder)
        })
        .map_err(TlsError::during("set up a TLS server"))?;
    show(&mut builder, identity).map_err(TlsError::during("use the server's certificate"))?;
    let (mode, authorities) = match clients {
        ClientAuth::None => (SslVerifyMode::NONE, [].as_slice()),
        ClientAuth::Optional(authorities) => (SslVerifyMode::PEER, authorities.as_slice()),
        ClientAuth::Required(authorities) => {
            (SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, authorities.as_slice())
        }
    };
    builder.set_verify(mode);
    trust_clients(&mut builder, authorities).map_err(TlsError::during("use the client authorities' certificates"))?;
    Ok(builder.build())
}

/// Shows an identity; the same for both ends.
pub(super) fn show(builder: &mut openssl::ssl::SslContextBuilder, identity: &Identity) -> Result<(), ErrorStack> {
    builder.set_certificate(identity.certificate())?;
    builder.set_private_key(identity.key())?;
    for intermediate in identity.chain() {
        builder.add_extra_chain_cert(intermediate.clone())?;
    }
    builder.check_private_key()
}

fn trust_clients(builder: &mut openssl::ssl::SslContextBuilder, authorities: &[X509]) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    let mut names = Stack::new()?;
    for authority in authorities {
        store.add_cert(authority.clone())?;
        names.push(authority.subject_name().to_owned()?)?;
    }
    // The store replaces openssl's default one: the system's authorities make nobody an admin.
    builder.set_cert_store(store.build());
    builder.set_client_ca_list(names);
    Ok(())
}
