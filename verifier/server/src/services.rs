//! What all parts of one verifier share.

use std::convert::Infallible;

use ledger_client::LedgerClient;
use tokio::sync::mpsc;
use transport::client::Client;

use crate::{
    appraisers::Appraisers,
    clock::Clock,
    config::{Notify, Polling},
    outbox::Outbox,
    policies::PolicyBook,
    store::Store,
    vault::Vault,
};

/// One verifier's means.
pub(crate) struct Services {
    /// Dropped with the last task that could write a record.
    #[expect(dead_code, reason = "only its end is watched")]
    pub(crate) alive: mpsc::Sender<Infallible>,
    pub(crate) appraisers: Appraisers,
    pub(crate) clock: Clock,
    pub(crate) danger_agents_without_tls: bool,
    pub(crate) ledger: LedgerClient,
    pub(crate) notify: Notify,
    pub(crate) outbox: Outbox,
    pub(crate) policies: PolicyBook,
    pub(crate) polling: Polling,
    pub(crate) store: Store,
    /// To agents, each pinned by whoever asks.
    pub(crate) to_agents: Client,
    pub(crate) vault: Vault,
    pub(crate) verifier_id: String,
}
