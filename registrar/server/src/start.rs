//! Telling the ledger that this service started, until it has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ledger_client::LedgerClient;
use ledger_protocol::body::ServiceStart;
use messages::ledger::Group;
use transport::server::Shutdown;

use crate::enrolment::item;
use crate::refusal::chain;
use crate::registrar::Registrar;

/// Appends the `service-start` entry and opens the registrar for activations; gives up at shutdown only.
pub(crate) async fn announce(
    registrar: Arc<Registrar>,
    ledger: LedgerClient,
    entry: ServiceStart,
    mut shutdown: Shutdown,
) {
    let mut wait = WAIT_MIN;
    loop {
        let group = Group { agent: None, expected: None, items: vec![item(&entry)] };
        let appended = tokio::select! {
            appended = ledger.append(group) => appended,
            () = shutdown.started() => return,
        };
        match appended {
            Ok(_) => {
                registrar.ready.store(true, Ordering::Release);
                tracing::info!("the ledger has recorded this start; activations are open");
                return;
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(reason, "the ledger has not recorded this start; no agent can be activated yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (2 * wait).min(WAIT_MAX),
            () = shutdown.started() => return,
        }
    }
}

/// A ledger that starts beside us needs about as long.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// How long after the ledger's return activations may stay shut.
const WAIT_MAX: Duration = Duration::from_secs(2);
