#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use messages::ledger::{APPEND_ENTRIES_MAX, Item};
use serde_bytes::ByteBuf;
use transport::tls::{ClientTlsConfig, HostNames};

use super::*;

fn client(url: &str) -> LedgerClient {
    let config = ClientTlsConfig { authorities: vec![], host_names: HostNames::Checked, identity: None };
    let mut config = LedgerClientConfig::new(url, ClientTls::new(&config).unwrap());
    config.give_up_after = Duration::from_millis(200);
    LedgerClient::new(config)
}

fn group(items: usize) -> Group {
    let item = Item { kind: 11, body: ByteBuf::from([0xf6]), after: None };
    Group { agent: None, expected: None, items: vec![item; items] }
}

#[tokio::test]
async fn a_ledger_that_is_not_there_is_unavailable_after_several_attempts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", taken.local_addr().unwrap());
    drop(taken);
    let client = client(&url);
    let (first, second) = tokio::join!(client.append(group(1)), client.append(group(2)));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(error, AppendError::Unavailable { attempts: 2.., source: Some(_) }), "{error}");
    }
    assert!(client.beacon().await.is_err());
}

#[tokio::test]
async fn a_group_that_fits_no_request_is_refused_without_sending() {
    let client = client("https://127.0.0.1:1");
    let error = client.append(group(APPEND_ENTRIES_MAX + 1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Refused(_)), "{error}");
}

#[tokio::test]
async fn an_address_that_is_none_is_not_tried_again() {
    let error = client("ledger").append(group(1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable { attempts: 1, .. }), "{error}");
}

/// A ledger without TLS that gives these answers, one to each request, and notes when it was asked.
async fn answering(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<Instant>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let mut times = Vec::new();
        for answer in answers {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(tcp.read(&mut request).await.unwrap() > 0);
            times.push(Instant::now());
            tcp.write_all(answer.as_bytes()).await.unwrap();
            tcp.shutdown().await.unwrap();
        }
        times
    });
    (url, asked)
}

fn answer(status: &str, header: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n")
}

#[tokio::test]
async fn a_ledger_that_asks_to_be_asked_later_is_asked_later() {
    let busy = |status| answer(status, "Retry-After: 1\r\n");
    let answers = vec![busy("429 Too Many Requests"), busy("503 Service Unavailable"), answer("204 No Content", "")];
    let (url, asked) = answering(answers).await;
    client(&url).put_blob(b"blob".to_vec()).await.unwrap();
    let times = asked.await.unwrap();
    assert_eq!(times.len(), 3);
    for pair in times.array_windows() {
        let [first, second] = pair;
        assert!(second.duration_since(*first) >= Duration::from_millis(990));
    }
}

#[tokio::test]
async fn a_ledger_that_is_always_busy_is_given_up() {
    let busy = || answer("503 Service Unavailable", "Retry-After: 0\r\n");
    let (url, asked) = answering((0..4).map(|_| busy()).collect()).await;
    let error = client(&url).put_blob(b"blob".to_vec()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::ZERO), "{error}");
    assert_eq!(asked.await.unwrap().len(), 4);
    // A batch is not sent again when the pause asked for ends after the time allowed.
    let (url, asked) = answering(vec![answer("429 Too Many Requests", "Retry-After: 30\r\n")]).await;
    let error = client(&url).append(group(1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable { attempts: 1, .. }), "{error}");
    assert_eq!(asked.await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_who_wait_for_the_beacon_of_a_mute_ledger_hear_of_it_together() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = ClientTlsConfig { authorities: vec![], host_names: HostNames::Checked, identity: None };
    let url = format!("https://{}", mute.local_addr().unwrap());
    let mut config = LedgerClientConfig::new(url, ClientTls::new(&config).unwrap());
    config.request_timeout = Duration::from_millis(300);
    let client = LedgerClient::new(config);
    let begun = Instant::now();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.beacon().await })
        })
        .collect();
    for asked in asking {
        assert!(asked.await.unwrap().is_err());
    }
    // One after the other would take 15 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
