//! Where an attester can be reached. Claims of the agent, bound to nothing but the credential they came with.

use std::net::IpAddr;

use openssl::error::ErrorStack;
use openssl::x509::X509;

#[cfg(test)]
mod tests;

/// The address and certificate under which the verifier and the tenant reach an agent.
///
/// Well-formed, not authenticated: whoever sends a registration writes what it likes here. It takes effect when the
/// credential made for the same registration is activated, and may change with each such activation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contact {
    /// Host name or address, without a port: at most 253 characters of a name, or an IPv4 or IPv6 address.
    pub host: Option<String>,
    /// Port at that host, not zero.
    pub port: Option<u16>,
    /// What the agent shows when called.
    pub certificate: Option<TlsCertificate>,
}

/// What an agent shows when it is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TlsCertificate {
    /// Nothing: it speaks plain HTTP. On the wire the word `disabled`.
    Disabled,
    /// One certificate, PEM as it came.
    Pem(String),
}

/// Why contact data are refused.
#[derive(Debug, thiserror::Error)]
pub enum ContactRejected {
    /// `mtls_cert` is no certificate.
    #[error("mtls_cert is not exactly one PEM certificate, nor the word \"disabled\"")]
    Certificate(#[source] Option<ErrorStack>),
    /// `ip` is neither an address nor a name.
    #[error("ip {found:?} is neither an IP address nor a host name of letters, digits, '-', '_' and '.'")]
    Host {
        /// The first 64 characters of what was sent.
        found: String,
    },
    /// `port` is zero.
    #[error("port is 0; expected 1 to 65535")]
    Port,
}

impl Contact {
    /// Reads the members `ip`, `port` and `mtls_cert` of a registration.
    ///
    /// # Errors
    /// [`ContactRejected`] naming the member. A host that could mean more than a host in a URL or a log is refused.
    pub fn parse(ip: Option<&str>, port: Option<u16>, mtls_cert: Option<&str>) -> Result<Self, ContactRejected> {
        let host = ip.filter(|ip| !ip.is_empty()).map(parse_host).transpose()?;
        if port == Some(0) {
            return Err(ContactRejected::Port);
        }
        let certificate = mtls_cert.filter(|pem| !pem.is_empty()).map(TlsCertificate::parse).transpose()?;
        Ok(Self { host, port, certificate })
    }
}

impl TlsCertificate {
    /// The member `mtls_cert` as it travels.
    #[must_use]
    pub fn as_wire(&self) -> &str {
        match self {
            Self::Disabled => DISABLED,
            Self::Pem(pem) => pem,
        }
    }

    fn parse(text: &str) -> Result<Self, ContactRejected> {
        if text == DISABLED {
            return Ok(Self::Disabled);
        }
        let certificates =
            X509::stack_from_pem(text.as_bytes()).map_err(|source| ContactRejected::Certificate(Some(source)))?;
        match certificates.as_slice() {
            [_] => Ok(Self::Pem(text.to_owned())),
            _ => Err(ContactRejected::Certificate(None)),
        }
    }
}

fn parse_host(text: &str) -> Result<String, ContactRejected> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = text.len() <= HOST_NAME_CHARS_MAX && text.chars().all(named);
    if name || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(ContactRejected::Host { found: text.chars().take(FOUND_CHARS_MAX).collect() })
}

/// The word for "no TLS".
const DISABLED: &str = "disabled";
/// RFC 1035 §2.3.4: 255 octets on the wire, which is 253 characters of text.
const HOST_NAME_CHARS_MAX: usize = 253;
/// Enough to recognise what was sent.
const FOUND_CHARS_MAX: usize = 64;
