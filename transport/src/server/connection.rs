//! One connection from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use openssl::x509::X509VerifyResult;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use tower_service::Service;

use super::admission::Place;
use super::dispatch::Caller;
use super::stream::{PatientStream, Wire};
use super::turns::Turns;
use super::{Limits, Shutdown};
use crate::router::Peer;
use crate::tls::ServerTls;

/// An accepted connection and what it may use.
pub(super) struct Connection {
    pub(super) limits: Limits,
    pub(super) place: Place,
    pub(super) remote: SocketAddr,
    pub(super) shutdown: Shutdown,
    pub(super) tls: Option<ServerTls>,
    pub(super) turns: Turns,
}

impl Connection {
    /// Shakes hands and answers requests until either side has had enough.
    pub(super) async fn serve<S>(self, tcp: TcpStream, service: S)
    where
        S: Service<http::Request<Incoming>, Response = warp::reply::Response, Error = Infallible>,
        S: Clone,
    {
        let Self { limits, place, remote, mut shutdown, tls, turns } = self;
        // Answers go out whole; waiting to fill a packet would only delay them.
        let _ = tcp.set_nodelay(true);
        let handshake = tokio::time::timeout(limits.handshake_timeout, turns.take(shake_hands(tcp, tls)));
        let shaken = tokio::select! {
            () = shutdown.started() => return,
            shaken = handshake => shaken,
        };
        match shaken {
            Ok(Some((wire, peer))) => {
                let over_tls = matches!(wire, Wire::Tls(_));
                let caller = Caller { over_tls, peer, remote };
                answer_requests(PatientStream::new(wire, &limits), caller, limits, shutdown, service).await;
            }
            Ok(None) => {}
            Err(_) => tracing::debug!(%remote, "no TLS handshake in time"),
        }
        drop(place);
    }
}

async fn shake_hands(tcp: TcpStream, tls: Option<ServerTls>) -> Option<(Wire, Peer)> {
    let Some(tls) = tls else {
        return Some((Wire::Plain(tcp), Peer::Anonymous));
    };
    let remote = tcp.peer_addr().ok()?;
    let mut stream = match tls.ssl().and_then(|ssl| SslStream::new(ssl, tcp)) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "cannot begin a TLS handshake");
            return None;
        }
    };
    if let Err(error) = Pin::new(&mut stream).accept().await {
        let verification = stream.ssl().verify_result().error_string();
        tracing::debug!(%remote, %error, verification, "TLS handshake refused");
        return None;
    }
    let peer = peer_of(&stream)?;
    Some((Wire::Tls(stream), peer))
}

/// The caller as the handshake proved it; `None` for a certificate that was not verified, which
/// the handshake should not have let through.
fn peer_of(stream: &SslStream<TcpStream>) -> Option<Peer> {
    match stream.ssl().peer_certificate() {
        None => Some(Peer::Anonymous),
        Some(certificate) if stream.ssl().verify_result() == X509VerifyResult::OK => {
            Some(Peer::of_certificate(&certificate))
        }
        Some(_) => None,
    }
}

async fn answer_requests<S>(stream: PatientStream, caller: Caller, limits: Limits, mut shutdown: Shutdown, service: S)
where
    S: Service<http::Request<Incoming>, Response = warp::reply::Response, Error = Infallible>,
    S: Clone,
{
    let phase = stream.phase();
    let remote = caller.remote;
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        phase.head_is_complete();
        request.extensions_mut().insert(caller.clone());
        let answer = service.clone().call(request);
        let phase = phase.clone();
        async move {
            let answer = answer.await;
            phase.answer_is_ready();
            answer
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's deadline for a head also runs while a connection rests between requests;
            // the shorter one for a head that has begun is the stream's.
            .header_read_timeout(limits.idle_timeout)
            .max_buf_size(limits.head_bytes_max.max(HEAD_BYTES_MAX_LEAST))
            .max_headers(limits.headers_max)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "connection ended early");
    }
}

/// The least that hyper takes as a limit, in bytes.
const HEAD_BYTES_MAX_LEAST: usize = 8192;
