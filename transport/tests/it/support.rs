//! Certificates of every kind, a server in the background, and clients for it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Name};
use tokio::task::JoinHandle;
use transport::client::{Client, Outgoing};
use transport::router::{Access, Request, Response, Route, Router};
use transport::server::{Drained, Limits, Server, Shutdown, ShutdownHandle};
use transport::tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, Identity, ServerTls};

/// No test waits longer than this for something that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

const DAY: i64 = 86_400;

pub(crate) struct Authority {
    pub(crate) certificate: X509,
    key: PKey<Private>,
}

/// A certificate that is right in every respect until a test changes one.
pub(crate) struct Wish {
    pub(crate) common_names: Vec<&'static str>,
    pub(crate) days: (i64, i64),
    pub(crate) ous: Vec<&'static str>,
    pub(crate) usage: Option<fn(&mut ExtendedKeyUsage) -> &mut ExtendedKeyUsage>,
}

impl Wish {
    pub(crate) fn client(ou: &'static str) -> Self {
        Self { common_names: vec!["someone"], days: (-1, 1), ous: vec![ou], usage: Some(ExtendedKeyUsage::client_auth) }
    }

    pub(crate) fn server(common_name: &'static str) -> Self {
        Self { common_names: vec![common_name], days: (-1, 1), ous: vec![], usage: Some(ExtendedKeyUsage::server_auth) }
    }
}

pub(crate) fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = new_key();
        let wish = Wish { usage: None, ..Wish::server("test authority") };
        let certificate = certify(&wish, &key, None, true);
        Self { certificate, key }
    }

    pub(crate) fn issue(&self, wish: &Wish) -> Identity {
        let key = new_key();
        let certificate = certify(wish, &key, Some(self), false);
        Identity::new(certificate, Vec::new(), key).unwrap()
    }

    /// What one of this authority's clients would be as an authority, which it is not.
    pub(crate) fn posing(identity: &Identity) -> Self {
        let key = identity.key().to_owned();
        Self { certificate: identity.certificate().to_owned(), key }
    }
}

pub(crate) fn self_signed(wish: &Wish) -> Identity {
    let key = new_key();
    Identity::new(certify(wish, &key, None, false), Vec::new(), key).unwrap()
}

fn certify(wish: &Wish, key: &PKey<Private>, by: Option<&Authority>, is_authority: bool) -> X509 {
    let mut name = X509Name::builder().unwrap();
    for common_name in &wish.common_names {
        name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    }
    for ou in &wish.ous {
        name.append_entry_by_nid(Nid::ORGANIZATIONALUNITNAME, ou).unwrap();
    }
    let name = name.build();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |days: i64| Asn1Time::from_unix(i64::try_from(now).unwrap() + days * DAY).unwrap();
    let serial = Asn1Integer::from_bn(&BigNum::from_u32(7).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    let issuer = by.map_or(name.as_ref(), |authority| authority.certificate.subject_name());
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&at(wish.days.0)).unwrap();
    builder.set_not_after(&at(wish.days.1)).unwrap();
    if is_authority {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
    }
    if let Some(usage) = wish.usage {
        let mut extended = ExtendedKeyUsage::new();
        builder.append_extension(usage(&mut extended).build().unwrap()).unwrap();
    }
    let context = builder.x509v3_context(by.map(|authority| authority.certificate.as_ref()), None);
    let own = SubjectKeyIdentifier::new().build(&context).unwrap();
    let issuer_key = by.map(|_| AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap());
    builder.append_extension(own).unwrap();
    if let Some(issuer_key) = issuer_key {
        builder.append_extension(issuer_key).unwrap();
    }
    builder.sign(by.map_or(key, |authority| &authority.key), MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A server in the background.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ShutdownHandle,
    pub(crate) task: JoinHandle<Drained>,
}

pub(crate) async fn start(tls: Option<ServerTls>, routes: Vec<Route>, limits: Limits) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, tls, Router::new(routes).unwrap(), limits).await.unwrap();
    let (handle, shutdown) = Shutdown::new();
    Running { address: server.local_addr(), handle, task: tokio::spawn(server.run(shutdown)) }
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) fn plain_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn stop(self) -> Drained {
        self.handle.start();
        tokio::time::timeout(SOON, self.task).await.unwrap().unwrap()
    }
}

/// A server's TLS under `authority`, for clients with certificates of the same one.
pub(crate) fn server_tls(authority: &Authority) -> ServerTls {
    let identity = authority.issue(&Wish::server("server"));
    let clients = ClientAuth::Optional(vec![authority.certificate.clone()]);
    ServerTls::new(&identity, &clients).unwrap()
}

/// A client that trusts `authority` for any host and shows `identity`.
pub(crate) fn client(authority: &Authority, identity: Option<Identity>) -> Client {
    let authorities = vec![authority.certificate.clone()];
    let host_names = HostNames::DangerIgnored;
    let config = ClientTlsConfig { authorities, host_names, identity };
    Client::new(ClientTls::new(&config).unwrap())
}

/// A client for plain listeners, which trusts no authority.
pub(crate) fn plain_client() -> Client {
    let config = ClientTlsConfig { authorities: Vec::new(), host_names: HostNames::Checked, identity: None };
    Client::new(ClientTls::new(&config).unwrap())
}

pub(crate) fn get(url: String) -> Outgoing {
    Outgoing::new(Method::GET, url)
}

/// A public GET route.
pub(crate) fn public<F, A>(pattern: &str, handler: F) -> Route
where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    Route::new(Method::GET, pattern, Access::PUBLIC, 0, handler)
}

/// A public GET route that says "pong".
pub(crate) fn ping() -> Route {
    public("/ping", |_| async { text("pong") })
}

pub(crate) fn text(text: impl Into<String>) -> Response {
    Response::new(StatusCode::OK, "text/plain", text.into())
}
