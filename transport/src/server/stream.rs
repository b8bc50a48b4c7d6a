//! A connection's bytes, with the patience of the limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_openssl::SslStream;

use super::Limits;

/// Bytes with or without TLS.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

/// Where a connection is in its requests. Written by both the stream (bytes come in) and the
/// service (a whole head came in, an answer is ready).
#[derive(Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

impl Phase {
    /// A new connection owes a head from the start.
    fn owing_a_head() -> Self {
        Self(Arc::new(AtomicU8::new(HEAD)))
    }

    pub(super) fn head_is_complete(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    pub(super) fn answer_is_ready(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn is_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }

    /// Whether the bytes that just came in begin a head.
    fn begins_head(&self) -> bool {
        self.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A stream that fails when a head takes too long to arrive or an answer to be taken, and that
/// closes in a way that lets the client read the last answer.
pub(super) struct PatientStream {
    wire: Wire,
    phase: Phase,
    head_timeout: Duration,
    write_stall_timeout: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
    farewell: Option<Farewell>,
}

/// The end of a connection: our side is closed, and what the client still sends is thrown away
/// for a while. Closing at once would make the system send a reset, which can overtake the answer.
struct Farewell {
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
    closed: bool,
}

impl PatientStream {
    pub(super) fn new(wire: Wire, limits: &Limits) -> Self {
        Self {
            wire,
            phase: Phase::owing_a_head(),
            head_timeout: limits.head_timeout,
            write_stall_timeout: limits.write_stall_timeout,
            head_deadline: Some(in_time(limits.head_timeout)),
            write_deadline: None,
            farewell: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.clone()
    }
}

fn in_time(timeout: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + timeout))
}

impl AsyncRead for PatientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = this.wire.poll_read(cx, buf);
        if buf.filled().len() > before && this.phase.begins_head() {
            this.head_deadline = Some(in_time(this.head_timeout));
        }
        if polled.is_pending() && this.phase.is_head() {
            // One byte a second keeps the deadline where it was.
            let deadline = this.head_deadline.get_or_insert_with(|| in_time(this.head_timeout)).as_mut();
            ready!(deadline.poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.wire {
            Wire::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Wire::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        if polled.is_ready() {
            this.write_deadline = None;
            return polled;
        }
        let timeout = this.write_stall_timeout;
        ready!(this.write_deadline.get_or_insert_with(|| in_time(timeout)).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Wire::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let farewell = this.farewell.get_or_insert_with(|| Farewell {
            deadline: in_time(FAREWELL_TIMEOUT),
            bytes_left: FAREWELL_BYTES_MAX,
            closed: false,
        });
        if farewell.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !farewell.closed {
            ready!(this.wire.poll_shutdown(cx))?;
            farewell.closed = true;
        }
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(this.wire.tcp()).poll_read(cx, &mut buf))?;
            let read = buf.filled().len();
            farewell.bytes_left = farewell.bytes_left.saturating_sub(read);
            if read == 0 || farewell.bytes_left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Wire {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut(),
        }
    }
}

/// How long we read on after the last answer: a round trip to anywhere and back.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// How much we read on after the last answer, in bytes: what was under way when the client
/// learned of the refusal, at most the 4 MiB a Linux socket sends ahead by default.
const FAREWELL_BYTES_MAX: usize = 4 * 1024 * 1024;
