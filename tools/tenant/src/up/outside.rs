//! Who vouches for a site's log from outside: witnesses and time-stamping authorities.

use std::time::Duration;

use ledger_server::{StampingConfig, TrustFileError, WitnessConfig};

use crate::{cli::UpArguments, failure::Failure};

/// The witnesses of the policy file, if one is named.
pub(super) fn witnesses(arguments: &UpArguments) -> Result<Option<WitnessConfig>, Failure> {
    let policy = arguments.witness_policy.as_deref();
    let load = |policy| WitnessConfig::load(policy, arguments.witness_ca.as_deref());
    policy.map(load).transpose().map_err(|error| unusable("use the witnesses", error))
}

/// The time-stamping authorities, if any are named.
pub(super) fn stamping(arguments: &UpArguments) -> Result<Option<StampingConfig>, Failure> {
    let Some(roots) = arguments.tsa_ca.as_deref() else { return Ok(None) };
    let period = Duration::from_secs(arguments.tsa_interval.max(1));
    let renew_before = Duration::from_secs(u64::from(arguments.tsa_renew_days) * 24 * 60 * 60);
    let servers = arguments.tsa_tls_ca.as_deref();
    let loaded = StampingConfig::load(arguments.tsa.clone(), roots, servers, period, renew_before);
    loaded.map(Some).map_err(|error| unusable("use the time-stamping authorities", error))
}

fn unusable(task: &str, error: TrustFileError) -> Failure {
    match error {
        TrustFileError::Servers { whose, option } => Failure::usage(format!("{whose} have https addresses"))
            .remedy(format!("name their servers' authorities with {option}")),
        error => Failure::system(task, error),
    }
}
