//! The retention policy at work: prunes what is old, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use transport::server::Shutdown;

use crate::engine::{Ledger, chain};
use crate::pruning::{BLOB_GRACE, PruneBelow, PruneError, PruneRequest};

/// Prunes now and then what was recorded longer than `retain` ago, until the shutdown starts.
pub(crate) fn spawn(ledger: &Arc<Ledger>, retain: Duration, mut shutdown: Shutdown) -> JoinHandle<()> {
    let ledger = Arc::clone(ledger);
    tokio::spawn(async move {
        loop {
            let pruning = Arc::clone(&ledger);
            let pruned = tokio::task::spawn_blocking(move || {
                pruning.prune(&PruneRequest {
                    actor: "ledger".to_owned(),
                    below: PruneBelow::OlderThan(retain),
                    blob_grace: BLOB_GRACE,
                    reason: format!("entries are kept for {} seconds", retain.as_secs()),
                })
            });
            match pruned.await {
                Ok(Ok(_) | Err(PruneError::Nothing { .. })) => {}
                Ok(Err(error)) => tracing::error!(error = chain(&error), "old entries were not pruned"),
                Err(error) => tracing::error!(%error, "old entries were not pruned"),
            }
            tokio::select! {
                () = shutdown.started() => return,
                () = tokio::time::sleep(LOOK.min(retain)) => {}
            }
        }
    })
}

/// How often to look for what is old: segments of 256 MiB do not finish more often.
const LOOK: Duration = Duration::from_secs(60 * 60);
