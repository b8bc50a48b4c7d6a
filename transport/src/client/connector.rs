//! New connections: TCP, TLS, HTTP.

use std::pin::Pin;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::pool::Sender;
use super::{ClientError, Target};
use crate::tls::ClientTls;

/// Connects, within [`CONNECT_TIMEOUT`].
pub(super) async fn connect(tls: &ClientTls, target: &Target) -> Result<Sender, ClientError> {
    let connecting = async {
        let tcp = tcp(target).await?;
        if !target.tls {
            return speak(tcp, target).await;
        }
        let stream = shake_hands(tls, tcp, target).await?;
        speak(stream, target).await
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => {
            Err(ClientError::Timeout { after: CONNECT_TIMEOUT, authority: target.authority(), doing: "connecting" })
        }
    }
}

async fn tcp(target: &Target) -> Result<TcpStream, ClientError> {
    let failed = |source| ClientError::Connect { authority: target.authority(), source };
    let tcp = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(failed)?;
    // Requests go out whole; waiting to fill a packet would only delay them.
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

async fn shake_hands(tls: &ClientTls, tcp: TcpStream, target: &Target) -> Result<SslStream<TcpStream>, ClientError> {
    let setup = |source| ClientError::TlsSetup { authority: target.authority(), source };
    let ssl = tls.ssl(&target.host, target.pin).map_err(setup)?;
    let mut stream = SslStream::new(ssl, tcp).map_err(setup)?;
    if let Err(source) = Pin::new(&mut stream).connect().await {
        let verification = stream.ssl().verify_result().error_string();
        return Err(ClientError::Tls { authority: target.authority(), source, verification });
    }
    if !ClientTls::is_expected(stream.ssl(), target.pin) {
        return Err(ClientError::WrongCertificate { authority: target.authority() });
    }
    Ok(stream)
}

async fn speak<S>(stream: S, target: &Target) -> Result<Sender, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ClientError::Protocol { authority: target.authority(), source })?;
    // The task ends when the sender is dropped or the server closes; its errors reach the sender.
    tokio::spawn(connection);
    Ok(sender)
}

/// How long a connection may take to be ready: as long as servers give a handshake, and as much
/// again for TCP to resend its first packet twice (after 1 s and 2 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer is read at a time, its head at most, in bytes: four TLS records.
const READ_BYTES_MAX: usize = 64 * 1024;
