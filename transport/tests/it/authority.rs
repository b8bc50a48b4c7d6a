//! The authority's files, and secret files as such.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use openssl::stack::Stack;
use openssl::x509::X509StoreContext;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use transport::ca::{self, Authority, CaError, KeyAlgorithm, Leaf};
use transport::client::Client;
use transport::router::{Access, Role, Route};
use transport::secret_file::{self, ReadError};
use transport::server::Limits;
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, IdentityError, ServerTls};

use crate::support::{get, ping, start, text};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn open(folder: &Path) -> Authority {
    Authority::open_or_create(folder, "Test Authority", KeyAlgorithm::EcP256).unwrap()
}

fn der(identity: &Identity) -> Vec<u8> {
    identity.certificate().to_der().unwrap()
}

#[tokio::test]
async fn what_an_authority_issues_works_between_its_server_and_clients() {
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::Rsa3072] {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(folder.path(), "Test Authority", algorithm).unwrap();
        let issue = |name: &str, leaf: &Leaf| authority.open_or_issue(folder.path(), name, leaf, algorithm).unwrap();
        let server = issue("server", &Leaf::server("server", &[], &[]));
        let admin = issue("client", &Leaf::client("operator", Role::Admin));
        let auditor = issue("auditor", &Leaf::client("auditor", Role::Auditor));
        let trusted = vec![authority.certificate().to_owned()];
        let tls = ServerTls::new(&server, &ClientAuth::Optional(trusted.clone())).unwrap();
        let who = Route::new(http::Method::GET, "/who", Access::ADMIN, 0, |request| async move {
            text(request.peer.common_name().unwrap_or("nobody"))
        });
        let running = start(Some(tls), vec![who], Limits::default()).await;
        for (identity, status) in [(Some(admin), 200), (Some(auditor), 403), (None, 403)] {
            let host_names = HostNames::Checked;
            let config = ClientTlsConfig { authorities: trusted.clone(), host_names, identity };
            let client = Client::new(ClientTls::new(&config).unwrap());
            let answer = client.request(get(running.url("/who"))).await.unwrap();
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(answer.body == "operator", status == 200);
        }
        running.stop().await;
    }
}

#[test]
fn files_have_keylimes_names_and_keys_are_their_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("deep/cv_ca");
    let authority = open(&folder);
    let leaf = Leaf::client("operator", Role::Admin);
    authority.open_or_issue(&folder, "client", &leaf, KeyAlgorithm::EcP256).unwrap();
    assert_eq!(mode(&folder), 0o700);
    let mut names: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        ["ca-private.pem", "ca-public.pem", "cacert.crt", "client-cert.crt", "client-private.pem", "client-public.pem",]
    );
    for name in names {
        let private = name.ends_with("-private.pem");
        assert_eq!(mode(&folder.join(&name)) == 0o600, private, "{name}");
    }
}

#[test]
fn opening_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let leaf = Leaf::server("server", &["host.test".to_owned()], &[]);
    let issue = || {
        let authority = open(folder.path());
        let issued = authority.open_or_issue(folder.path(), "server", &leaf, KeyAlgorithm::EcP256).unwrap();
        (authority.certificate().to_der().unwrap(), der(&issued))
    };
    assert_eq!(issue(), issue());
}

#[test]
fn a_certificate_that_does_not_serve_any_more_is_renewed_over_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let leaf = Leaf::server("server", &[], &[]);
    let issue = |authority: &Authority, leaf: &Leaf| {
        authority.open_or_issue(path, "server", leaf, KeyAlgorithm::EcP256).unwrap()
    };
    let authority = open(path);
    let first = issue(&authority, &leaf);
    let same_key = |issued: &Identity| issued.key().public_eq(first.key());
    let moved = Leaf::server("server", &[], &["192.0.2.1".parse().unwrap()]);
    let elsewhere = issue(&authority, &moved);
    assert!(der(&elsewhere) != der(&first) && same_key(&elsewhere));
    fs::remove_file(path.join("server-cert.crt")).unwrap();
    assert!(same_key(&issue(&authority, &leaf)));
    fs::write(path.join("server-cert.crt"), "not a certificate").unwrap();
    assert!(same_key(&issue(&authority, &leaf)));
    let other_folder = tempfile::tempdir().unwrap();
    let other = issue(&open(other_folder.path()), &leaf);
    assert!(same_key(&other), "another authority certifies the same key");
    let issuer = open(other_folder.path()).certificate().public_key().unwrap();
    assert!(other.certificate().verify(&issuer).unwrap());
}

#[test]
fn an_authority_whose_key_is_another_is_left_alone() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(folder.path());
    open(other.path());
    let key = secret_file::read(&other.path().join("ca-private.pem")).unwrap();
    secret_file::write(&folder.path().join("ca-private.pem"), &key).unwrap();
    let opened = Authority::open_or_create(folder.path(), "x", KeyAlgorithm::EcP256);
    assert!(matches!(opened, Err(CaError::Identity { source: IdentityError::Mismatch, .. })));
    // A missing key is no reason for a new authority either.
    fs::remove_file(folder.path().join("ca-private.pem")).unwrap();
    let opened = Authority::open_or_create(folder.path(), "x", KeyAlgorithm::EcP256);
    assert!(matches!(opened, Err(CaError::Identity { source: IdentityError::KeyFile(_), .. })));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let key = folder.path().join("ca-private.pem");
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let refused = Authority::open_or_create(folder.path(), "x", KeyAlgorithm::EcP256);
        let Err(CaError::Identity { source: IdentityError::KeyFile(exposed), .. }) = refused else {
            panic!("mode {mode:o} is taken: {refused:?}");
        };
        assert!(exposed.to_string().contains(&format!("chmod 600 {}", key.display())));
    }
    fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
    open(folder.path());
}

#[test]
fn an_agents_certificate_names_the_agent_and_its_addresses_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let contact: IpAddr = "192.0.2.7".parse().unwrap();
    let first = ca::open_or_self_sign(folder.path(), "agent-1", &[contact]).unwrap();
    let again = ca::open_or_self_sign(folder.path(), "agent-1", &[contact]).unwrap();
    assert_eq!(der(&first), der(&again));
    let text = String::from_utf8(first.certificate().to_text().unwrap()).unwrap();
    for part in [
        "Subject: CN",
        "DNS:localhost,",
        "DNS:localhost.domain",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
        "IP Address:192.0.2.7",
        "ecdsa-with-SHA256",
        "CA:FALSE",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let name = first.certificate().subject_name().entries().next().unwrap();
    assert_eq!(name.data().to_string().unwrap(), "agent-1");
    let renamed = ca::open_or_self_sign(folder.path(), "agent-2", &[contact]).unwrap();
    assert!(der(&renamed) != der(&first) && renamed.key().public_eq(first.key()));
    assert!(ca::self_sign(&"x".repeat(65), &[]).is_err());
}

#[tokio::test]
async fn an_agents_certificate_works_as_the_trusted_authority_keylime_makes_of_it() {
    let agent = ca::self_sign("agent", &[]).unwrap();
    let tls = ServerTls::new(&agent, &ClientAuth::None).unwrap();
    let server = start(Some(tls), vec![ping()], Limits::default()).await;
    let twin = ca::self_sign("agent", &[]).unwrap();
    for (trusted, welcome) in [(&agent, true), (&twin, false)] {
        let config = ClientTlsConfig {
            authorities: vec![trusted.certificate().to_owned()],
            host_names: HostNames::Checked,
            identity: None,
        };
        let client = Client::new(ClientTls::new(&config).unwrap());
        assert_eq!(client.request(get(server.url("/ping"))).await.is_ok(), welcome);
    }
    server.stop().await;
}

#[test]
fn certificates_pass_the_strict_checks_of_rfc_5280() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    let server = Leaf::server("server", &[], &[]);
    let client = Leaf::client("client", Role::Service);
    for leaf in [server, client] {
        let issued = authority.issue(&leaf, KeyAlgorithm::EcP256).unwrap();
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(authority.certificate().to_owned()).unwrap();
        store.set_flags(X509VerifyFlags::X509_STRICT).unwrap();
        let mut context = X509StoreContext::new().unwrap();
        let verified = context
            .init(&store.build(), issued.certificate(), &Stack::new().unwrap(), |context| {
                Ok((context.verify_cert()?, context.error()))
            })
            .unwrap();
        assert!(verified.0, "{:?}", verified.1);
    }
}

#[test]
fn secret_files_are_replaced_whole_and_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let missing = secret_file::read(&path).unwrap_err();
    assert!(missing.is_missing());
    secret_file::write(&path, b"first").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(secret_file::read(&path), Err(ReadError::Exposed { mode: 0o644, .. })));
    secret_file::write(&path, b"second").unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(secret_file::read(&path).unwrap().as_slice(), b"second");
    secret_file::write(&path, &vec![0; secret_file::SECRET_BYTES_MAX]).unwrap();
    assert!(secret_file::read(&path).is_ok());
    secret_file::write(&path, &vec![0; secret_file::SECRET_BYTES_MAX + 1]).unwrap();
    assert!(matches!(secret_file::read(&path), Err(ReadError::TooLong { .. })));
    assert!(matches!(secret_file::read(folder.path()), Err(ReadError::NotAFile { .. })));
    assert!(secret_file::write(&folder.path().join("absent/secret"), b"x").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn an_identitys_debug_output_has_no_key() {
    let identity = ca::self_sign("agent", &[]).unwrap();
    let debug = format!("{identity:?}").to_lowercase();
    assert!(debug.contains("agent") && !debug.contains("private"), "{debug}");
    let key = identity.key().ec_key().unwrap().private_key().to_hex_str().unwrap().to_lowercase();
    assert!(!debug.contains(&key));
}
