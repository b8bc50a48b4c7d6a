//! TLS 1.2 and 1.3 with openssl: what a server shows and demands, what a client trusts and shows.
//!
//! Nothing is resumed: each connection shows its certificates anew, so a certificate that has
//! expired or been replaced stops working with the next connection.

mod client;
mod identity;
mod pin;
mod server;

use openssl::error::ErrorStack;

pub use self::client::{ClientTls, ClientTlsConfig, HostNames};
pub(crate) use self::identity::load_key;
pub use self::identity::{Identity, IdentityError, certificates_from_pem};
pub use self::pin::CertificatePin;
pub use self::server::{ClientAuth, ServerTls};

/// Why openssl would not take a TLS configuration.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct TlsError {
    operation: &'static str,
    source: ErrorStack,
}

impl TlsError {
    pub(crate) fn during(operation: &'static str) -> impl FnOnce(ErrorStack) -> Self {
        move |source| Self { operation, source }
    }
}
