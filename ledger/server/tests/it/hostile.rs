//! Clients that take what they can and give nothing: each misdeed on a connection of its own, in the
//! thread that calls.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509Ref;
use transport::tls::Identity;

/// What a client may do wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Misdeed {
    /// Asks for this path and does not read the answer.
    Deaf(&'static str),
    /// Sends a body in pieces without end.
    EndlessBody,
    /// Announces a body longer than any.
    LongBody,
    /// Sends header fields without end.
    LongHead,
    /// Connects and says nothing.
    Mute,
    /// Sends a request whose body is no CBOR.
    NoCbor,
    /// Shakes hands and says what is no HTTP.
    NoHttp,
    /// Says what is no TLS.
    NoTls,
    /// Shakes hands and says nothing.
    Shaken,
    /// Sends a body byte by byte.
    SlowBody,
    /// Sends a head byte by byte.
    SlowHead,
}

/// One who misbehaves, with a certificate of a service.
pub(crate) struct Hostile {
    address: SocketAddr,
    connector: SslConnector,
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Hostile {
    pub(crate) fn new(address: SocketAddr, identity: &Identity, authority: &X509Ref) -> Self {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("a connector");
        builder.set_certificate(identity.certificate()).expect("a certificate");
        builder.set_private_key(identity.key()).expect("a key");
        builder.cert_store_mut().add_cert(authority.to_owned()).expect("an authority");
        Self { address, connector: builder.build() }
    }

    /// Misbehaves until the server ends the connection, and tells what it answered; `None` if `enough`
    /// said so before.
    pub(crate) fn run(&self, misdeed: Misdeed, enough: impl Fn() -> bool) -> io::Result<Option<Vec<u8>>> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(DRIP))?;
        tcp.set_write_timeout(Some(DRIP))?;
        let mut wire: Box<dyn Wire> = match misdeed {
            Misdeed::Mute | Misdeed::NoTls => Box::new(tcp),
            _ => {
                tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
                let raw = tcp.try_clone()?;
                let stream = self.connector.connect("127.0.0.1", tcp).map_err(io::Error::other)?;
                raw.set_read_timeout(Some(DRIP))?;
                Box::new(stream)
            }
        };
        let (first, then) = misdeed.bytes();
        let mut answer = Vec::new();
        // A server that has had enough may close while we still send.
        let mut open = wire.write_all(first.as_bytes()).is_ok();
        if matches!(misdeed, Misdeed::Deaf(_)) {
            while !enough() {
                std::thread::sleep(DRIP);
            }
        }
        loop {
            if enough() && !matches!(misdeed, Misdeed::Deaf(_)) {
                return Ok(None);
            }
            if open && !then.is_empty() {
                open = match wire.write_all(then.as_bytes()) {
                    Ok(()) => true,
                    Err(error) => is_patience(&error),
                };
            }
            let mut bytes = [0; 16 * 1024];
            match wire.read(&mut bytes) {
                Ok(0) => return Ok(Some(answer)),
                Ok(read) => answer.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                Err(error) if is_patience(&error) => {}
                // A reset ends a connection as well as a farewell does.
                Err(_) => return Ok(Some(answer)),
            }
        }
    }
}

impl Misdeed {
    /// One of each.
    pub(crate) const ALL: [Self; 11] = [
        Self::Deaf("/checkpoint"),
        Self::EndlessBody,
        Self::LongBody,
        Self::LongHead,
        Self::Mute,
        Self::NoCbor,
        Self::NoHttp,
        Self::NoTls,
        Self::Shaken,
        Self::SlowBody,
        Self::SlowHead,
    ];

    /// What it sends at once, and then again and again.
    fn bytes(self) -> (String, String) {
        let post = "POST /ledger/v1/append HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        match self {
            Self::Deaf(path) => (format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), String::new()),
            Self::EndlessBody => {
                let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
                (format!("{post}Transfer-Encoding: chunked\r\n\r\n"), piece)
            }
            Self::LongBody => (format!("{post}Content-Length: 99999999999\r\n\r\n"), String::new()),
            Self::LongHead => ("GET /checkpoint HTTP/1.1\r\n".to_owned(), format!("X: {}\r\n", "x".repeat(2_000))),
            Self::Mute | Self::Shaken => (String::new(), String::new()),
            Self::NoCbor => (format!("{post}Content-Length: 4\r\n\r\nXXXX"), String::new()),
            Self::NoHttp => ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), String::new()),
            Self::NoTls => ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), String::new()),
            Self::SlowBody => (format!("{post}Content-Length: 1000000\r\n\r\n"), "x".to_owned()),
            Self::SlowHead => ("GET /checkpoint HTTP/1.1\r\nX: ".to_owned(), "x".to_owned()),
        }
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Between two bytes.
const DRIP: Duration = Duration::from_millis(20);
