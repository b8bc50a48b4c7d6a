//! The witnesses that a site's log asks.

use std::{fs, path::Path};

use ledger_server::{WitnessConfig, WitnessPolicy};
use transport::tls::{ClientTls, ClientTlsConfig, HostNames, certificates_from_pem};

use crate::failure::Failure;

/// Reads a tlog-policy file and the authorities of the witnesses' servers.
pub(super) fn load(policy: &Path, authorities: Option<&Path>) -> Result<WitnessConfig, Failure> {
    let parsed = WitnessPolicy::parse(&read(policy)?)
        .map_err(|error| Failure::system(format_args!("use {}", policy.display()), error))?;
    let authorities = match authorities {
        Some(path) => certificates_from_pem(&read(path)?)
            .map_err(|error| Failure::system(format_args!("use {}", path.display()), error))?,
        None if parsed.uses_tls() => {
            return Err(Failure::usage("the witness policy has https addresses")
                .remedy("name their authorities with --witness-ca"));
        }
        None => Vec::new(),
    };
    let config = ClientTlsConfig { authorities, host_names: HostNames::Checked, identity: None };
    let tls = ClientTls::new(&config).map_err(|error| Failure::system("set up TLS to the witnesses", error))?;
    Ok(WitnessConfig::new(parsed, tls))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::system(format_args!("read {}", path.display()), error))
}
