//! How much a stranger can make a server hold, and for how long.

use std::time::Duration;

/// The bounds of one server. [`Limits::default`] suits a verifier of ten thousand agents on two
/// cores; each number says where it comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long a handler may take before its caller is told 503; the handler itself goes on.
    /// One minute is what Keylime's servers allow a request (`request_timeout`).
    pub answer_timeout: Duration,
    /// All request bodies held at one time, in bytes; what would exceed it is told 503. Half of
    /// the 1 GiB a verifier may use, and room for five of the largest uploads (100 MiB).
    pub bodies_bytes_max: usize,
    /// How long a body may take to arrive: one minute carries the largest upload, 100 MiB, at
    /// 14 Mbit/s.
    pub body_timeout: Duration,
    /// Connections at one time. Ten thousand agents with one each, and half as many again for
    /// reconnections and operators, rounded up to a power of two; at about 40 KiB of TLS and HTTP
    /// buffers each this is below 0.7 GiB. The process needs as many file descriptors.
    pub connections_max: usize,
    /// Connections at one time from one IPv4 address or one IPv6 /64, the smallest network a
    /// site gets. A sixteenth of all: fifteen hostile addresses still leave room for others, and a
    /// thousand machines fit behind one address translator.
    pub connections_per_ip_max: usize,
    /// How long running requests have to finish after a shutdown begins, as Keylime's
    /// `shutdown_drain_timeout`.
    pub drain_timeout: Duration,
    /// How long a TLS handshake may take: two round trips and two signatures, with room for three
    /// lost packets sent again after 1 s, then 2 s.
    pub handshake_timeout: Duration,
    /// Handshakes that compute at one time. Each has two steps of up to a millisecond (two signatures,
    /// a key agreement, a chain); half of the processors, and at least one, leaves the others to requests
    /// when a thousand connections come at once. Who waits for bytes does not count.
    pub handshakes_at_once: usize,
    /// A request's line and header fields together, in bytes (less counts as 8,192): one TLS record.
    /// The longest real one, a quote request with its nonce and mask, is below 1 KiB.
    pub head_bytes_max: usize,
    /// How long a request's line and header fields may take from their first byte on, and from
    /// the handshake on for the first request: one packet, with room for three sent again.
    pub head_timeout: Duration,
    /// Header fields per request; curl sends 4, browsers about 20.
    pub headers_max: usize,
    /// How long a connection may rest between requests: longer than a minute, the longest
    /// interval at which pollers are commonly set, so that they keep theirs.
    pub idle_timeout: Duration,
    /// How long a client may leave an answer unread when its window is full. Thirty seconds is six
    /// resends of a lost packet.
    pub write_stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(60),
            bodies_bytes_max: 512 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            connections_max: 16_384,
            connections_per_ip_max: 1_024,
            drain_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            handshakes_at_once: std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)),
            head_bytes_max: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            headers_max: 64,
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(30),
        }
    }
}
