//! What strangers cannot make a server do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::client::Outgoing;
use transport::router::{Access, Route};
use transport::server::{Drained, Limits};

use crate::support::{Authority, SOON, client, get, ping, plain_client, public, server_tls, start, text};

const SHORT: Duration = Duration::from_millis(200);

/// A POST route that says how long the body was, up to `max` bytes.
fn measure(max: usize) -> Route {
    Route::new(
        Method::POST,
        "/measure",
        Access::PUBLIC,
        max,
        |request| async move { text(request.body.len().to_string()) },
    )
}

/// Sends `bytes` and reads until the server closes or `SOON` has passed.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn half_open_connections_do_not_delay_a_good_client() {
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), vec![ping()], Limits::default()).await;
    let mut mute = Vec::new();
    for _ in 0..200 {
        mute.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begun = Instant::now();
    let answer = client(&ours, None).request(get(server.url("/ping"))).await.unwrap();
    assert_eq!(answer.body, "pong");
    let taken = begun.elapsed();
    assert!(taken < Limits::default().handshake_timeout / 2, "took {taken:?}");
    drop(mute);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let ours = Authority::new();
    let limits = Limits { handshake_timeout: SHORT, ..Limits::default() };
    let server = start(Some(server_tls(&ours)), vec![ping()], limits).await;
    assert_eq!(exchange(server.address, b"").await, "");
    // The start of a record that is never finished.
    assert_eq!(exchange(server.address, b"\x16\x03\x01\x02\x00\x01").await, "");
    server.stop().await;
}

#[tokio::test]
async fn a_slow_head_is_cut_off_however_steadily_it_drips() {
    let limits = Limits { head_timeout: SHORT, ..Limits::default() };
    let server = start(None, vec![ping()], limits).await;
    assert_eq!(exchange(server.address, b"GET /ping HTTP/1.1\r\nHost:").await, "");
    let (mut read, mut write) = TcpStream::connect(server.address).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut byte = [0];
    let closed = tokio::time::timeout(SOON, read.read(&mut byte)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    tokio::time::timeout(SOON, dripping).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_slow_second_head_is_cut_off_before_the_idle_time() {
    let limits = Limits { head_timeout: SHORT, ..Limits::default() };
    let server = start(None, vec![ping()], limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(read > 0);
    tokio::time::sleep(SHORT * 2).await;
    stream.write_all(b"GET /ping HTTP/1.1\r\n").await.unwrap();
    let begun = Instant::now();
    let closed = tokio::time::timeout(SOON, stream.read(&mut answer)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert!(begun.elapsed() >= SHORT / 2, "resting is not dripping");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_for_ever() {
    let limits = Limits { head_timeout: SHORT, idle_timeout: SHORT * 5, ..Limits::default() };
    let server = start(None, vec![ping()], limits).await;
    let begun = Instant::now();
    let answer = exchange(server.address, b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.ends_with("pong"), "{answer}");
    assert!(begun.elapsed() >= SHORT * 4, "closed after {:?}", begun.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let server = start(None, vec![measure(1024), ping()], Limits::default()).await;
    let client = plain_client();
    for (length, status) in [(0, 200), (1, 200), (1024, 200), (1025, 413), (8 * 1024 * 1024, 413)] {
        let outgoing = Outgoing::new(Method::POST, server.plain_url("/measure"));
        let outgoing = outgoing.with_body("text/plain", vec![b'x'; length]);
        let answer = client.request(outgoing).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{length} bytes");
        if status == 413 {
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            let text = "The request body is longer than the 1024 bytes this route takes";
            assert_eq!(body, json!({"code": 413, "status": text, "results": {}}));
        }
    }
    // A route without a body takes none.
    let mut outgoing = get(server.plain_url("/ping"));
    outgoing.body = "x".into();
    let answer = client.request(outgoing).await.unwrap();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_reads_still_learns_of_the_refusal() {
    let server = start(None, vec![measure(8)], Limits::default()).await;
    // More than loopback buffers at once, so that the client is still writing when it is refused.
    let length = 4 * 1024 * 1024 - 4096;
    let mut sent = format!("POST /measure HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    sent.resize(sent.len() + length, b'x');
    let answer = exchange(server.address, &sent).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_chunked_body_is_counted_as_it_comes() {
    let server = start(None, vec![measure(8)], Limits::default()).await;
    let head = "POST /measure HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fits = exchange(server.address, format!("{head}4\r\nabcd\r\n4\r\nefgh\r\n0\r\n\r\n").as_bytes()).await;
    assert!(fits.starts_with("HTTP/1.1 200") && fits.ends_with('8'), "{fits}");
    let over = exchange(server.address, format!("{head}4\r\nabcd\r\n5\r\nefghi\r\n0\r\n\r\n").as_bytes()).await;
    assert!(over.starts_with("HTTP/1.1 413"), "{over}");
    let both = "POST /measure HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd";
    let both = exchange(server.address, both.as_bytes()).await;
    assert!(both.starts_with("HTTP/1.1 400"), "{both}");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let limits = Limits { body_timeout: SHORT, ..Limits::default() };
    let server = start(None, vec![measure(8)], limits).await;
    let half = b"POST /measure HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nabcd";
    let answer = exchange(server.address, half).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn all_bodies_together_are_bounded() {
    let limits = Limits { bodies_bytes_max: 6, ..Limits::default() };
    let server = start(None, vec![measure(8)], limits).await;
    let client = plain_client();
    for (body, status) in [("abcdef", 200), ("abcdefg", 503), ("abcdef", 200)] {
        let outgoing = Outgoing::new(Method::POST, server.plain_url("/measure"));
        let answer = client.request(outgoing.with_body("text/plain", body)).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{body}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let limits = Limits { head_bytes_max: 8192, headers_max: 8, ..Limits::default() };
    let server = start(None, vec![ping()], limits).await;
    let long = format!("GET /ping HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    let many = format!("GET /ping HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(9));
    for head in [long, many] {
        let answer = exchange(server.address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn one_address_has_only_so_many_connections() {
    let limits = Limits { connections_per_ip_max: 2, ..Limits::default() };
    let server = start(None, vec![ping()], limits).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        held.push(stream);
    }
    let refused = plain_client().request(get(server.plain_url("/ping"))).await;
    assert!(refused.is_err(), "{refused:?}");
    held.pop();
    let deadline = Instant::now() + SOON;
    while plain_client().request(get(server.plain_url("/ping"))).await.is_err() {
        assert!(Instant::now() < deadline, "the place is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_nobody_reads_is_given_up() {
    let limits = Limits { write_stall_timeout: SHORT, ..Limits::default() };
    let large = public("/large", |_| async { text("x".repeat(64 * 1024 * 1024)) });
    let server = start(None, vec![large], limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
    // The connection is all that keeps the server: it must end by itself.
    assert_eq!(server.stop().await, Drained::Completely);
    drop(stream);
}
