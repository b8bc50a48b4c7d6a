//! Requests and answers between the client and the server.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use transport::client::{ClientError, Outgoing, UrlFlaw};
use transport::router::{Access, Response, Route};
use transport::server::Limits;

use crate::support::{Authority, SOON, client, get, ping, plain_client, public, server_tls, start, text};

#[tokio::test]
async fn connections_are_kept_for_the_next_request() {
    let ours = Authority::new();
    let port = public("/port", |request| async move { text(request.remote.port().to_string()) });
    let server = start(Some(server_tls(&ours)), vec![port], Limits::default()).await;
    let keeping = client(&ours, None);
    let first = keeping.request(get(server.url("/port"))).await.unwrap();
    let second = keeping.request(get(server.url("/port"))).await.unwrap();
    assert_eq!(first.body, second.body);
    let other = client(&ours, None).request(get(server.url("/port"))).await.unwrap();
    assert_ne!(first.body, other.body);
    server.stop().await;
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let limits = Limits { idle_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = start(None, vec![ping()], limits).await;
    let keeping = plain_client();
    for _ in 0..3 {
        let answer = keeping.request(get(server.plain_url("/ping"))).await.unwrap();
        assert_eq!(answer.body, "pong");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handler_sees_the_whole_request() {
    let echo = Route::new(Method::PUT, "/:version/agents/:id", Access::PUBLIC, 64, |r| async move {
        let nonce = r.query.get("nonce").unwrap_or("none");
        let body = String::from_utf8_lossy(&r.body);
        text(format!("{} {} {nonce} {body} {}", r.param("version"), r.param("id"), r.over_tls))
    });
    let server = start(None, vec![echo], Limits::default()).await;
    let url = server.plain_url("/v2.6/agents/a%20b?nonce=x%26y");
    let outgoing = Outgoing::new(Method::PUT, url).with_body("text/plain", "hello");
    let answer = plain_client().request(outgoing).await.unwrap();
    assert_eq!(answer.body, "v2.6 a b x&y hello false");
    let twice = Outgoing::new(Method::PUT, server.plain_url("/v2.6/agents/a?n=1&n=2"));
    let refused = plain_client().request(twice).await.unwrap();
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn a_request_keeps_its_harmless_id_and_gets_one_otherwise() {
    let server = start(None, vec![ping()], Limits::default()).await;
    let ask = async |id: Option<&'static str>| {
        let mut outgoing = get(server.plain_url("/ping"));
        if let Some(id) = id {
            outgoing.headers.insert("x-request-id", HeaderValue::from_static(id));
        }
        let answer = plain_client().request(outgoing).await.unwrap();
        answer.headers.get("x-request-id").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(ask(Some("aB3-x_.")).await, "aB3-x_.");
    assert_eq!(ask(Some("a b")).await.len(), 16);
    assert_ne!(ask(None).await, ask(None).await);
    server.stop().await;
}

#[tokio::test]
async fn head_has_no_body_and_redirects_are_answers() {
    let moved = public("/moved", |_| async {
        Response::empty(StatusCode::TEMPORARY_REDIRECT).with_header(LOCATION, HeaderValue::from_static("/ping"))
    });
    let server = start(None, vec![ping(), moved], Limits::default()).await;
    let head = Outgoing::new(Method::HEAD, server.plain_url("/ping"));
    let head = plain_client().request(head).await.unwrap();
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    let moved = plain_client().request(get(server.plain_url("/moved"))).await.unwrap();
    assert_eq!(moved.status, StatusCode::TEMPORARY_REDIRECT);
    server.stop().await;
}

#[tokio::test]
async fn a_panicking_handler_is_answered_500_and_the_server_lives() {
    let panics = public("/panic", |_| async { panic!("as the test wants it") });
    let server = start(None, vec![panics, ping()], Limits::default()).await;
    let keeping = plain_client();
    for _ in 0..3 {
        let failed = keeping.request(get(server.plain_url("/panic"))).await.unwrap();
        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
        let text = String::from_utf8_lossy(&failed.body).into_owned();
        assert!(!text.contains("as the test wants it"), "{text}");
        let fine = keeping.request(get(server.plain_url("/ping"))).await.unwrap();
        assert_eq!(fine.body, "pong");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handler_runs_to_its_end_when_its_caller_hangs_up_or_loses_patience() {
    let (entered, leave, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (Arc::clone(&entered), Arc::clone(&leave), Arc::clone(&left));
    let slow = public("/slow", move |_| {
        let (entered, leave, left) = signals.clone();
        async move {
            entered.notify_one();
            leave.notified().await;
            left.notify_one();
            text("done")
        }
    });
    let limits = Limits { answer_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start(None, vec![slow], limits).await;
    // Hangs up.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::timeout(SOON, entered.notified()).await.unwrap();
    drop(stream);
    leave.notify_one();
    tokio::time::timeout(SOON, left.notified()).await.unwrap();
    // Is told 503.
    let told = plain_client().request(get(server.plain_url("/slow"))).await.unwrap();
    assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE);
    leave.notify_one();
    tokio::time::timeout(SOON, left.notified()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let large = public("/large", |_| async { text("x".repeat(1000)) });
    let server = start(None, vec![large], Limits::default()).await;
    for (bytes_max, fits) in [(1000, true), (999, false)] {
        let outgoing = Outgoing { answer_bytes_max: bytes_max, ..get(server.plain_url("/large")) };
        match plain_client().request(outgoing).await {
            Ok(answer) => assert!(fits && answer.body.len() == 1000),
            Err(ClientError::AnswerTooLong { bytes_max: 999, .. }) => assert!(!fits),
            Err(other) => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mute_server_times_out_and_an_absent_one_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let timeout = Duration::from_millis(100);
    for scheme in ["http", "https"] {
        let outgoing = Outgoing { timeout, ..get(format!("{scheme}://{address}/")) };
        let mute = plain_client().request(outgoing).await;
        assert!(matches!(mute, Err(ClientError::Timeout { .. })), "{mute:?}");
    }
    drop(listener);
    let absent = plain_client().request(get(format!("http://{address}/"))).await;
    assert!(matches!(absent, Err(ClientError::Connect { .. })), "{absent:?}");
}

#[tokio::test]
async fn what_is_not_http_or_not_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let talker = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let http = plain_client().request(get(format!("http://{address}/"))).await;
    assert!(matches!(http, Err(ClientError::Protocol { .. })), "{http:?}");
    let https = plain_client().request(get(format!("https://{address}/"))).await;
    assert!(matches!(https, Err(ClientError::Tls { .. })), "{https:?}");
    talker.abort();
}

#[tokio::test]
async fn addresses_that_cannot_be_asked_are_refused() {
    for (url, expected) in [
        ("", UrlFlaw::Malformed),
        ("/path", UrlFlaw::Malformed),
        ("host:80", UrlFlaw::Malformed),
        ("ftp://host/", UrlFlaw::Scheme),
        ("http://user:secret@host/", UrlFlaw::Credentials),
    ] {
        let refused = plain_client().request(get(url.to_owned())).await;
        let Err(error @ ClientError::Url { flaw }) = &refused else {
            panic!("{url}: {refused:?}");
        };
        assert_eq!(*flaw, expected, "{url}");
        assert!(!error.to_string().contains("secret"));
    }
}
