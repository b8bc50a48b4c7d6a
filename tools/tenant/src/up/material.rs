//! Keys and certificates of a site, made at its first start.

use openssl::x509::X509;
use transport::{
    ca::{Authority, KeyAlgorithm, Leaf},
    router::Role,
    tls::{ClientAuth, ClientTls, ClientTlsConfig, HostNames, ServerTls},
};

use crate::{cli::UpArguments, failure::Failure, site::Site};

/// What the servers need; the rest is files in `tls/`, in Keylime's layout.
pub(super) struct Material {
    /// Shown by the registrar to the ledger.
    pub(super) registrar: ClientTls,
    /// The servers' certificate; client certificates are asked for and optional.
    pub(super) server: ServerTls,
    /// Shown by the verifier to the ledger, to agents and to the webhook.
    pub(super) verifier: ClientTls,
}

impl Material {
    /// Opens or makes the authority, the servers' certificate, and one client certificate for
    /// each role: `client` (operator), `auditor`, and `registrar` and `verifier` (services), under
    /// the names by which the servers find them when they run apart.
    pub(super) fn open(site: &Site, arguments: &UpArguments) -> Result<Self, Failure> {
        let tls = site.tls();
        let failed = |what: &'static str| {
            let folder = tls.display().to_string();
            move |error| Failure::system(format_args!("make or load {what} in {folder}"), error)
        };
        let algorithm = KeyAlgorithm::EcP256;
        let authority = Authority::open_or_create(&tls, "Attestry Certificate Authority", algorithm)
            .map_err(failed("the site's authority"))?;
        let issue =
            |name: &str, leaf: &Leaf, what| authority.open_or_issue(&tls, name, leaf, algorithm).map_err(failed(what));
        let server_leaf = Leaf::server("server", &arguments.names, &[arguments.listen]);
        let server = issue("server", &server_leaf, "the servers' certificate")?;
        issue("client", &Leaf::client("client", Role::Admin), "the operator's certificate")?;
        issue("auditor", &Leaf::client("auditor", Role::Auditor), "the auditor's certificate")?;
        let registrar = issue("registrar", &Leaf::client("registrar", Role::Service), "the registrar's certificate")?;
        let verifier = issue("verifier", &Leaf::client("verifier", Role::Service), "the verifier's certificate")?;
        let trusted: Vec<X509> = vec![authority.certificate().to_owned()];
        let setup = |error| Failure::system("set up TLS", error);
        let server = ServerTls::new(&server, &ClientAuth::Optional(trusted.clone())).map_err(setup)?;
        let client = |identity| {
            let authorities = trusted.clone();
            let config = ClientTlsConfig { authorities, host_names: HostNames::Checked, identity: Some(identity) };
            ClientTls::new(&config).map_err(setup)
        };
        Ok(Self { registrar: client(registrar)?, server, verifier: client(verifier)? })
    }
}
