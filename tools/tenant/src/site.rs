//! A site's data directory: where its servers are and how to speak with them.

use std::path::{Path, PathBuf};

use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use transport::{
    client::Client,
    tls::{ClientTls, ClientTlsConfig, HostNames, Identity},
};

use crate::failure::Failure;

/// Where the servers of a site listen: `endpoints.json`, written by `attestry up`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Endpoints {
    /// `http://host:port`, registration alone.
    pub(crate) registrar: String,
    /// `https://host:port`.
    pub(crate) registrar_tls: String,
    /// `https://host:port`.
    pub(crate) verifier: String,
    /// `https://host:port`.
    pub(crate) ledger: String,
}

/// The paths inside a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    root: PathBuf,
}

impl Site {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn endpoints_file(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    pub(crate) fn log_vkey(&self) -> PathBuf {
        self.root.join("log.vkey")
    }

    pub(crate) fn registrar(&self) -> PathBuf {
        self.root.join("registrar")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    pub(crate) fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    pub(crate) fn verifier(&self) -> PathBuf {
        self.root.join("verifier")
    }

    /// Where the servers listen.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, Failure> {
        let path = self.endpoints_file();
        let text = std::fs::read(&path).map_err(|error| {
            Failure::system(format_args!("read {}", path.display()), error)
                .remedy(format!("start the site with: attestry up --data {}", self.root.display()))
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            Failure::system(format_args!("use {}", path.display()), error)
                .remedy("it is rewritten by the next start of attestry up")
        })
    }

    /// The operator's identity and trust: `tls/client-cert.crt` under the site's authority.
    pub(crate) fn client_tls(&self) -> Result<ClientTls, Failure> {
        let tls = self.tls();
        let load = |error| {
            Failure::system(format_args!("load the operator's certificate from {}", tls.display()), error)
                .remedy("it is made by the first start of attestry up; run this as the same user")
        };
        let identity = Identity::load(&tls.join("client-cert.crt"), &tls.join("client-private.pem")).map_err(load)?;
        let authority = self.authority()?;
        let config =
            ClientTlsConfig { authorities: vec![authority], host_names: HostNames::Checked, identity: Some(identity) };
        ClientTls::new(&config).map_err(|error| Failure::system("set up TLS", error))
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_tls().map(Client::new)
    }

    fn authority(&self) -> Result<X509, Failure> {
        let path = self.tls().join("cacert.crt");
        let pem =
            std::fs::read(&path).map_err(|error| Failure::system(format_args!("read {}", path.display()), error))?;
        X509::from_pem(&pem).map_err(|error| Failure::system(format_args!("use {}", path.display()), error))
    }
}
