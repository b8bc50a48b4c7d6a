//! What a verifier is told at its start.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ledger_client::LedgerClientConfig;
use transport::tls::{ClientTls, ServerTls};

/// One verifier.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shown to agents. Agents' own certificates are pinned one by one, so it needs no authorities.
    pub agent_tls: ClientTls,
    /// Adds agents without a TLS certificate and asks them over plain HTTP: anyone between reads
    /// and changes what passes. For closed test networks alone.
    pub danger_agents_without_tls: bool,
    /// Where the verifier keeps its records and its secret key; made if it is not there.
    pub data_dir: PathBuf,
    /// The ledger. Its client certificate needs the service role.
    pub ledger: LedgerClientConfig,
    /// Bytes of long boot logs and measurement lists that are held for all agents together; other agents' wait their
    /// turn and are asked for again. Usually [`LONG_LISTS_BYTES_MAX`](crate::LONG_LISTS_BYTES_MAX).
    pub long_lists_bytes_max: usize,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whom failures are made known to.
    pub notify: Notify,
    /// How agents are asked unless their add says otherwise.
    pub polling: Polling,
    /// The server's certificate and the authorities of its callers' certificates.
    pub server_tls: ServerTls,
    /// Which one of several verifiers this is, as its agents' status names it.
    pub verifier_id: String,
}

/// How agents are asked.
#[derive(Clone, Copy, Debug)]
pub struct Polling {
    /// Time between two quotes of one agent.
    pub interval: Duration,
    /// Wait before the ledger is tried again.
    pub ledger_retry: Duration,
    /// Time for one request to an agent, from connecting to the last byte.
    pub request_timeout: Duration,
    /// Wait before a request that failed is repeated; each next wait doubles.
    pub retry_base: Duration,
    /// Repetitions before a miss is recorded.
    pub retries_max: u32,
    /// How much later than its interval a quote may be; `None` is four intervals, Keylime's rule
    /// that a pass counts for five.
    pub tolerance: Option<Duration>,
}

impl Default for Polling {
    /// Keylime's defaults, except that a request may take 10 s, not 60: a mute agent is noticed
    /// sooner, and no real one takes longer.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            ledger_retry: Duration::from_secs(1),
            request_timeout: Duration::from_secs(10),
            retry_base: Duration::from_secs(2),
            retries_max: 5,
            tolerance: None,
        }
    }
}

/// Whom failures are made known to.
#[derive(Clone, Debug)]
pub struct Notify {
    /// Sends revocations that are signed with the tenant's key to every agent of this verifier.
    pub agents: bool,
    /// How long a message is tried before it is given up.
    pub give_up_after: Duration,
    /// Wait before a message is tried again; each next wait doubles, up to a minute.
    pub retry_base: Duration,
    /// An address of one's own to post revocations to.
    pub webhook: Option<Webhook>,
}

impl Default for Notify {
    /// No webhook; agents are told; a day of trying, which outlasts a night without staff.
    fn default() -> Self {
        Self {
            agents: true,
            give_up_after: Duration::from_secs(24 * 3_600),
            retry_base: Duration::from_secs(1),
            webhook: None,
        }
    }
}

/// Where revocations are posted to.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Whom to trust at that address, and the certificate shown there.
    pub tls: ClientTls,
    /// `https://…`, or `http://` to a loopback address.
    pub url: String,
}
