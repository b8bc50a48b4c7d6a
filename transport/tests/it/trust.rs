//! Whom a client believes.

use std::net::{IpAddr, Ipv4Addr};

use transport::ca;
use transport::client::{Client, ClientError, UrlFlaw};
use transport::server::Limits;
use transport::tls::{CertificatePin, ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls};

use crate::support::{Authority, Running, Wish, client, get, ping, plain_client, self_signed, server_tls, start};

async fn serve(identity: &Identity) -> Running {
    let tls = ServerTls::new(identity, &ClientAuth::None).unwrap();
    start(Some(tls), vec![ping()], Limits::default()).await
}

fn pin(identity: &Identity) -> CertificatePin {
    CertificatePin::of(identity.certificate()).unwrap()
}

#[tokio::test]
async fn a_pin_accepts_exactly_its_certificate() {
    let (agent, twin) = (ca::self_sign("agent", &[]).unwrap(), ca::self_sign("agent", &[]).unwrap());
    let server = serve(&agent).await;
    let nobody = plain_client();
    let answer = nobody.pinned(pin(&agent)).request(get(server.url("/ping"))).await.unwrap();
    assert_eq!(answer.body, "pong");
    let refused = nobody.pinned(pin(&twin)).request(get(server.url("/ping"))).await;
    assert!(matches!(refused, Err(ClientError::Tls { .. })), "{refused:?}");
    let unpinned = nobody.request(get(server.url("/ping"))).await;
    assert!(matches!(unpinned, Err(ClientError::Tls { .. })), "{unpinned:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_pin_outweighs_trust_in_an_authority() {
    let ours = Authority::new();
    let (one, other) = (ours.issue(&Wish::server("one")), ours.issue(&Wish::server("one")));
    let server = serve(&one).await;
    let trusting = client(&ours, None);
    assert!(trusting.request(get(server.url("/ping"))).await.is_ok());
    assert!(trusting.pinned(pin(&one)).request(get(server.url("/ping"))).await.is_ok());
    assert!(trusting.pinned(pin(&other)).request(get(server.url("/ping"))).await.is_err());
    // One whose issuer is not known at all.
    let pinned = plain_client().pinned(pin(&one));
    assert!(pinned.request(get(server.url("/ping"))).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_pinned_certificate_that_has_expired_is_refused() {
    for (days, welcome) in [((-1, 1), true), ((-2, -1), false), ((1, 2), false)] {
        let identity = self_signed(&Wish { days, ..Wish::server("agent") });
        let server = serve(&identity).await;
        let answer = plain_client().pinned(pin(&identity)).request(get(server.url("/ping"))).await;
        assert_eq!(answer.is_ok(), welcome, "{days:?}: {answer:?}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_pinned_client_does_not_go_without_tls() {
    let identity = ca::self_sign("agent", &[]).unwrap();
    let server = start(None, vec![ping()], Limits::default()).await;
    let refused = plain_client().pinned(pin(&identity)).request(get(server.plain_url("/ping"))).await;
    assert!(matches!(refused, Err(ClientError::Url { flaw: UrlFlaw::PinWithoutTls })));
    server.stop().await;
}

#[tokio::test]
async fn servers_of_foreign_authorities_and_with_unfit_certificates_are_refused() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    for (identity, welcome) in [
        (ours.issue(&Wish::server("x")), true),
        (ours.issue(&Wish { usage: None, ..Wish::server("x") }), true),
        (foreign.issue(&Wish::server("x")), false),
        (ours.issue(&Wish { days: (-2, -1), ..Wish::server("x") }), false),
        (ours.issue(&Wish::client("Operations")), false),
        (self_signed(&Wish::server("x")), false),
    ] {
        let server = serve(&identity).await;
        let answer = client(&ours, None).request(get(server.url("/ping"))).await;
        assert_eq!(answer.is_ok(), welcome, "{answer:?}");
        if !welcome {
            assert!(matches!(answer, Err(ClientError::Tls { .. })));
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn host_names_are_checked_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ca::Authority::open_or_create(folder.path(), "ours", ca::KeyAlgorithm::EcP256).unwrap();
    let here = ca::Leaf::server("here", &[], &[]);
    let elsewhere = ca::Leaf {
        addresses: vec![IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))],
        dns_names: vec!["elsewhere.test".to_owned()],
        ..here.clone()
    };
    for (leaf, host, checked, ignored) in [
        (&here, "127.0.0.1", true, true),
        (&here, "localhost", true, true),
        (&elsewhere, "127.0.0.1", false, true),
        (&elsewhere, "localhost", false, true),
    ] {
        let server = serve(&authority.issue(leaf, ca::KeyAlgorithm::EcP256).unwrap()).await;
        let url = format!("https://{host}:{}/ping", server.address.port());
        for (host_names, welcome) in [(HostNames::Checked, checked), (HostNames::DangerIgnored, ignored)] {
            let authorities = vec![authority.certificate().to_owned()];
            let config = ClientTlsConfig { authorities, host_names, identity: None };
            let client = Client::new(ClientTls::new(&config).unwrap());
            let answer = client.request(get(url.clone())).await;
            assert_eq!(answer.is_ok(), welcome, "{host} {host_names:?}: {answer:?}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let ours = Authority::new();
    let (before, after) = (ours.issue(&Wish::server("x")), ours.issue(&Wish::server("x")));
    let tls = ServerTls::new(&before, &ClientAuth::None).unwrap();
    let server = start(Some(tls.clone()), vec![ping()], Limits::default()).await;
    let old = plain_client().pinned(pin(&before));
    assert!(old.request(get(server.url("/ping"))).await.is_ok());
    tls.replace(&after, &ClientAuth::None).unwrap();
    assert!(old.request(get(server.url("/ping"))).await.is_ok(), "the kept connection is cut");
    let new = plain_client();
    assert!(new.pinned(pin(&before)).request(get(server.url("/ping"))).await.is_err());
    assert!(new.pinned(pin(&after)).request(get(server.url("/ping"))).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn tls_below_1_2_is_refused() {
    use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
    let ours = Authority::new();
    let server = start(Some(server_tls(&ours)), vec![ping()], Limits::default()).await;
    for (version, welcome) in [(SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true), (SslVersion::TLS1_3, true)] {
        let address = server.address;
        let shaken = tokio::task::spawn_blocking(move || {
            let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
            builder.set_verify(SslVerifyMode::NONE);
            builder.set_security_level(0);
            builder.set_min_proto_version(Some(version)).unwrap();
            builder.set_max_proto_version(Some(version)).unwrap();
            let tcp = std::net::TcpStream::connect(address).unwrap();
            builder.build().connect("localhost", tcp).is_ok()
        });
        assert_eq!(shaken.await.unwrap(), welcome, "{version:?}");
    }
    server.stop().await;
}
