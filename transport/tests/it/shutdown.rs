//! How a server stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use transport::client::ClientError;
use transport::router::Route;
use transport::server::{Drained, Limits};

use crate::support::{Authority, SOON, client, get, ping, plain_client, public, server_tls, start, text};

/// A route that says when a request is in, and answers when told.
fn gate() -> (Route, Arc<Notify>, Arc<Notify>) {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (Arc::clone(&entered), Arc::clone(&leave));
    let route = public("/gate", move |_| {
        let (entered, leave) = signals.clone();
        async move {
            entered.notify_one();
            leave.notified().await;
            text("through")
        }
    });
    (route, entered, leave)
}

#[tokio::test]
async fn a_shutdown_lets_a_running_request_finish_and_takes_no_new_ones() {
    let ours = Authority::new();
    let (route, entered, leave) = gate();
    let server = start(Some(server_tls(&ours)), vec![route], Limits::default()).await;
    let (url, address) = (server.url("/gate"), server.address);
    let client = client(&ours, None);
    let running = tokio::spawn(async move { client.request(get(url)).await });
    tokio::time::timeout(SOON, entered.notified()).await.unwrap();
    server.handle.start();
    let refused = async {
        while !matches!(
            plain_client().request(get(format!("http://{address}/"))).await,
            Err(ClientError::Connect { .. })
        ) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, refused).await.unwrap();
    assert!(!server.task.is_finished(), "the server left before its request");
    leave.notify_one();
    assert_eq!(running.await.unwrap().unwrap().body, "through");
    assert_eq!(server.stop().await, Drained::Completely);
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut_when_the_time_is_over() {
    let (route, entered, _leave) = gate();
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start(None, vec![route], limits).await;
    let url = server.plain_url("/gate");
    let running = tokio::spawn(async move { plain_client().request(get(url)).await });
    tokio::time::timeout(SOON, entered.notified()).await.unwrap();
    assert_eq!(server.stop().await, Drained::Cut);
    assert!(matches!(running.await.unwrap(), Err(ClientError::Protocol { .. })));
}

#[tokio::test]
async fn a_shutdown_waits_for_handlers_whose_callers_have_hung_up() {
    let (route, entered, leave) = gate();
    let server = start(None, vec![route], Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::timeout(SOON, entered.notified()).await.unwrap();
    drop(stream);
    server.handle.start();
    // Not proof that it never would, but it takes 1 ms to leave when it does not wait.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!server.task.is_finished(), "the server left before its handler");
    leave.notify_one();
    assert_eq!(server.stop().await, Drained::Completely);
}

#[tokio::test]
async fn resting_and_half_open_connections_do_not_hold_up_a_shutdown() {
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), vec![ping()], Limits::default()).await;
    let keeping = client(&ours, None);
    keeping.request(get(server.url("/ping"))).await.unwrap();
    let half_open = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(server.stop().await, Drained::Completely);
    drop((keeping, half_open));
}
