//! Sends HTTP/1.1 requests over TLS or plain TCP, keeping connections for the next request.

mod connector;
mod pool;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use self::pool::{Checkout, Pool, Sender};
use crate::tls::{CertificatePin, ClientTls};

/// A client with one TLS configuration. Copies share it and its kept connections.
#[derive(Clone)]
pub struct Client {
    pin: Option<CertificatePin>,
    pool: Arc<Pool>,
    tls: ClientTls,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The longest answer accepted, in bytes of its body.
    pub answer_bytes_max: usize,
    /// The body; empty for none.
    pub body: Bytes,
    /// Header fields beside `Host` and the body's length, which are added.
    pub headers: HeaderMap,
    /// The method.
    pub method: Method,
    /// How long everything may take, from connecting to the answer's last byte.
    pub timeout: Duration,
    /// An absolute `http` or `https` address.
    pub url: String,
}

/// A whole answer, whatever its status. Redirects are answers: none is followed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body, whole.
    pub body: Bytes,
    /// The header fields.
    pub headers: HeaderMap,
    /// The status.
    pub status: StatusCode,
}

/// Why there is no answer. `authority` is the host and port that were asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The answer is longer than [`Outgoing::answer_bytes_max`].
    #[error("the answer of {authority} is longer than {bytes_max} bytes")]
    AnswerTooLong {
        /// Who was asked.
        authority: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The server ended TLS after the handshake. With TLS 1.3 this is how a server refuses the
    /// client's certificate, or its absence.
    #[error("{authority} ended TLS; it may refuse the client's certificate or require one")]
    CertificateRefused {
        /// Who was asked.
        authority: String,
        /// What was seen.
        source: hyper::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {authority}")]
    Connect {
        /// Who was asked.
        authority: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke, or what came over it is not HTTP. The request may have been carried
    /// out.
    #[error("no proper answer from {authority}")]
    Protocol {
        /// Who was asked.
        authority: String,
        /// What was seen.
        source: hyper::Error,
    },
    /// Not everything was done in time. Unless it was still connecting, the request may have been
    /// carried out.
    #[error("{authority} took longer than {after:?} while {doing}")]
    Timeout {
        /// The time allowed.
        after: Duration,
        /// Who was asked.
        authority: String,
        /// What was being done.
        doing: &'static str,
    },
    /// The TLS handshake failed, or the server is not who it should be. Nothing was sent.
    #[error("TLS with {authority} failed ({verification})")]
    Tls {
        /// Who was asked.
        authority: String,
        /// What is wrong.
        source: openssl::ssl::Error,
        /// openssl's judgement of the server's certificate, "ok" if that is not the cause.
        verification: &'static str,
    },
    /// openssl did not begin a connection.
    #[error("cannot begin TLS with {authority}")]
    TlsSetup {
        /// Who was asked.
        authority: String,
        /// Why not.
        source: openssl::error::ErrorStack,
    },
    /// The address is none that can be asked. Nothing was sent.
    #[error("the address {flaw}")]
    Url {
        /// What is wrong with it.
        flaw: UrlFlaw,
    },
    /// The handshake succeeded with a certificate other than the pinned one. Nothing was sent.
    #[error("{authority} showed another certificate than the one expected")]
    WrongCertificate {
        /// Who was asked.
        authority: String,
    },
}

/// Why an address cannot be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UrlFlaw {
    /// Holds a user name or password, which would not be sent.
    #[error("has a user name in it")]
    Credentials,
    /// Not an absolute address.
    #[error("is not an absolute URL")]
    Malformed,
    /// A client with a pinned certificate does not go without TLS.
    #[error("is not https, but the server's certificate is pinned")]
    PinWithoutTls,
    /// Neither `http` nor `https`.
    #[error("is neither http nor https")]
    Scheme,
}

/// Where a request goes: the key under which connections are kept.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Target {
    host: String,
    pin: Option<CertificatePin>,
    port: u16,
    tls: bool,
}

impl Outgoing {
    /// A request without a body, allowed [`TIMEOUT`] and an answer of [`ANSWER_BYTES_MAX`].
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            answer_bytes_max: ANSWER_BYTES_MAX,
            body: Bytes::new(),
            headers: HeaderMap::new(),
            method,
            timeout: TIMEOUT,
            url: url.into(),
        }
    }

    /// The same request with a body of `content_type`.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        self.headers.insert(http::header::CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }
}

impl Client {
    /// A client that trusts and shows what `tls` says.
    pub fn new(tls: ClientTls) -> Self {
        Self { pin: None, pool: Arc::default(), tls }
    }

    /// The same client, speaking only with the holder of one certificate's key: trust in
    /// authorities and host names do not matter any more, the certificate's dates still do.
    #[must_use]
    pub fn pinned(&self, pin: CertificatePin) -> Self {
        Self { pin: Some(pin), ..self.clone() }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// A kept connection that the server has closed meanwhile is replaced without notice when
    /// nothing was sent, or when the method may be repeated (RFC 9110 §9.2.2). Cancelling cuts
    /// the connection.
    ///
    /// # Errors
    /// [`ClientError`], whose variants say whether the request can have been carried out.
    pub async fn request(&self, outgoing: Outgoing) -> Result<Answer, ClientError> {
        let (target, uri) = self.target(&outgoing.url)?;
        let after = outgoing.timeout;
        match tokio::time::timeout(after, self.exchange(&target, &uri, &outgoing)).await {
            Ok(answered) => answered,
            Err(_) => {
                let authority = target.authority();
                Err(ClientError::Timeout { after, authority, doing: "answering" })
            }
        }
    }

    fn target(&self, url: &str) -> Result<(Target, Uri), ClientError> {
        let refused = |flaw| ClientError::Url { flaw };
        let uri: Uri = url.parse().map_err(|_| refused(UrlFlaw::Malformed))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if self.pin.is_none() => false,
            Some("http") => return Err(refused(UrlFlaw::PinWithoutTls)),
            Some(_) => return Err(refused(UrlFlaw::Scheme)),
            None => return Err(refused(UrlFlaw::Malformed)),
        };
        let authority = uri.authority().ok_or(refused(UrlFlaw::Malformed))?;
        if authority.as_str().contains('@') {
            return Err(refused(UrlFlaw::Credentials));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        if host.is_empty() {
            return Err(refused(UrlFlaw::Malformed));
        }
        Ok((Target { host, pin: self.pin, port, tls }, uri))
    }

    async fn exchange(&self, target: &Target, uri: &Uri, outgoing: &Outgoing) -> Result<Answer, ClientError> {
        loop {
            let Some(Checkout { mut sender }) = self.pool.take(target).await else {
                break;
            };
            match sender.try_send_request(request(uri, outgoing)).await {
                Ok(response) => return self.receive(target, sender, response, outgoing).await,
                Err(failure) => {
                    let unsent = failure.message().is_some();
                    let error = failure.into_error();
                    if !unsent && !outgoing.method.is_idempotent() {
                        return Err(broken(target, error));
                    }
                }
            }
        }
        let mut sender = connector::connect(&self.tls, target).await?;
        let response = sender.send_request(request(uri, outgoing)).await;
        let response = response.map_err(|error| broken(target, error))?;
        self.receive(target, sender, response, outgoing).await
    }

    async fn receive(
        &self,
        target: &Target,
        sender: Sender,
        response: http::Response<Incoming>,
        outgoing: &Outgoing,
    ) -> Result<Answer, ClientError> {
        let (head, mut incoming) = response.into_parts();
        let bytes_max = outgoing.answer_bytes_max;
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| broken(target, error))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.len() > bytes_max.saturating_sub(body.len()) {
                let authority = target.authority();
                return Err(ClientError::AnswerTooLong { authority, bytes_max });
            }
            body.extend_from_slice(&data);
        }
        self.pool.keep(target, sender);
        Ok(Answer { body: body.freeze(), headers: head.headers, status: head.status })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Client");
        debug.field("tls", &self.tls).field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Target {
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// The request as it goes over the wire: the path alone in the first line, the authority in `Host`.
fn request(uri: &Uri, outgoing: &Outgoing) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = outgoing.method.clone();
    *request.headers_mut() = outgoing.headers.clone();
    if let Some(Ok(host)) = uri.authority().map(|host| HeaderValue::from_str(host.as_str())) {
        request.headers_mut().insert(HOST, host);
    }
    let path = uri.path_and_query().cloned().map(Uri::from);
    *request.uri_mut() = path.unwrap_or_else(|| Uri::from_static("/"));
    request
}

fn broken(target: &Target, source: hyper::Error) -> ClientError {
    let authority = target.authority();
    if target.tls && is_tls_failure(&source) {
        ClientError::CertificateRefused { authority, source }
    } else {
        ClientError::Protocol { authority, source }
    }
}

/// Whether openssl is somewhere among the causes.
fn is_tls_failure(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<openssl::ssl::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// How long a request may take unless told otherwise: half of what servers allow themselves, since
/// most answers take milliseconds and someone is waiting.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer unless told otherwise, in bytes: a boot log (about 100 KiB) as base64 with
/// room for a growing IMA list. Who expects more says so.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
