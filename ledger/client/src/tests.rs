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
