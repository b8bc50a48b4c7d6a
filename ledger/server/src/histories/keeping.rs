//! Beside the line: follows the durable entries, and puts the census on record.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ledger_history::history::{PushError, WITNESS_ROLE};
use ledger_protocol::body::{NamedPolicy, PolicyBody};
use messages::Digest;

use super::keeper::{Keeper, Log};
use super::{Histories, HistoriesConfig, HistoriesError};
use crate::engine::{Appender, Shared, chain};
use crate::folder::Folder;

/// The histories' thread.
pub(crate) struct Keeping {
    appender: Appender,
    /// When the last census of this process was put on record.
    censused: Option<Instant>,
    config: HistoriesConfig,
    /// When the last snapshot was made.
    saved: Instant,
    /// The witness policy of this process, until it is on record.
    witnesses: Option<Option<Vec<u8>>>,
}

impl Keeping {
    /// For a process that asks the witnesses of a policy file, or none.
    pub(crate) fn new(appender: Appender, config: HistoriesConfig, witnesses: Option<Vec<u8>>) -> Self {
        Self { appender, censused: None, config, saved: Instant::now(), witnesses: Some(witnesses) }
    }

    /// Runs until the log is closed. Whatever goes wrong here ends the making of proofs, not the log.
    pub(crate) fn run(mut self) {
        // Callers who wait for an answer come first. Without it both have equal shares.
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "the histories' thread has the priority of the others");
        }
        let shared = std::sync::Arc::clone(&self.appender.shared);
        let Some(histories) = &shared.histories else { return };
        if let Err(error) = self.follow(&shared, histories) {
            let told = match &error {
                HistoriesError::Pruned { .. } => error.to_string(),
                _ => "the histories are not kept; the ledger's log says why".to_owned(),
            };
            let error = chain(&error);
            tracing::error!(error, "the histories are kept no longer; restart the ledger when the cause is mended");
            histories.set_problem(Some(told));
        }
    }

    fn follow(&mut self, shared: &Shared, histories: &Histories) -> Result<(), HistoriesError> {
        let log = Log { blobs: &shared.blobs, levels: &shared.levels, segments: &shared.segments };
        let root = histories.path.parent().unwrap_or(&histories.path);
        let root = Folder::open(root).map_err(super::error::io("open", root))?;
        let mut keeper = Keeper::open(&root, log, shared.durable_size())?;
        histories.saved.store(keeper.saved(), Ordering::Release);
        let mut goes_on = true;
        let mut ending: Option<Instant> = None;
        loop {
            let durable = shared.durable_size();
            let has_more = match keeper.advance(log, durable.min(keeper.size() + SLICE_ENTRIES)) {
                Ok(()) => keeper.size() < durable,
                Err(HistoriesError::Push(error @ PushError::Blob { .. })) => {
                    tracing::warn!(error = chain(&error), "the histories wait for a blob");
                    histories.set_problem(Some(error.to_string()));
                    goes_on = goes_on && shared.wait_for(BLOB_PAUSE, |_, _| false);
                    if goes_on {
                        continue;
                    }
                    false
                }
                Err(error) => return Err(error),
            };
            histories.size.store(keeper.size(), Ordering::Relaxed);
            if !goes_on && (!has_more || ending.get_or_insert_with(Instant::now).elapsed() > ENDING_MAX) {
                break;
            }
            if has_more {
                goes_on = goes_on && shared.wait_for(Duration::ZERO, |_, _| true);
                continue;
            }
            histories.show(keeper.censuses());
            histories.set_problem(None);
            self.record_witnesses(shared, &keeper);
            self.take_census(histories, &mut keeper);
            self.save(shared, histories, &mut keeper)?;
            let size = keeper.size();
            let quiet = LOOK.min(self.config.epoch);
            // One look for many batches: nobody waits for this thread.
            goes_on = shared.wait_for(quiet, |durable, _| durable > size) && shared.wait_for(GATHER, |_, _| false);
        }
        keeper.save(&shared.levels).map(drop)
    }

    /// Puts the witness policy of this process on record if the last one there is another.
    fn record_witnesses(&mut self, shared: &Shared, keeper: &Keeper) {
        let Some(policy) = self.witnesses.take() else { return };
        let content = policy.as_ref().map(|policy| Digest(openssl::sha::sha256(policy)));
        let recorded = keeper.witness().map_or(content.is_none(), |recorded| recorded == content);
        if recorded {
            return;
        }
        let stored = match (&content, &policy) {
            (Some(digest), Some(bytes)) => shared.blobs.put(digest, bytes),
            _ => Ok(()),
        };
        let (role, name, actor) = (WITNESS_ROLE.to_owned(), POLICY_NAME.to_owned(), "ledger".to_owned());
        let body = PolicyBody::Named(NamedPolicy { role, name, content, actor });
        let done = match stored {
            Ok(()) => self.appender.append(&body).map_err(|error| chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        if done != Ok(true) {
            tracing::warn!(?done, "the witness policy is not on record yet");
            self.witnesses = Some(policy);
        }
    }

    /// Puts a census on record when its time has come and a checkpoint entry has come since the last.
    fn take_census(&mut self, histories: &Histories, keeper: &mut Keeper) {
        let due = self.censused.is_none_or(|last| last.elapsed() >= self.config.epoch);
        if !due || !keeper.has_news() {
            return;
        }
        let body = keeper.history().census().head().body();
        histories.permit(Some(body.clone()));
        match self.appender.append(&body) {
            Ok(true) => self.censused = Some(Instant::now()),
            // A checkpoint entry came between: the next round takes it up.
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the census is not on record yet"),
        }
        histories.permit(None);
    }

    fn save(&mut self, shared: &Shared, histories: &Histories, keeper: &mut Keeper) -> Result<(), HistoriesError> {
        let wanted = histories.wanted.load(Ordering::Acquire) > keeper.saved();
        let hourly = self.saved.elapsed() >= SAVE_INTERVAL && keeper.unsaved() > 0;
        if wanted || hourly || keeper.unsaved() >= SAVE_ENTRIES {
            keeper.save(&shared.levels)?;
            self.saved = Instant::now();
            histories.saved.store(keeper.saved(), Ordering::Release);
        }
        Ok(())
    }
}

/// Name of the policy entry.
const POLICY_NAME: &str = "witnesses";

/// How far behind the callers' threads: about a tenth of their share when all processors are busy.
const NICENESS: i32 = 10;

/// How often to look whether a census is due when nothing comes.
const LOOK: Duration = Duration::from_secs(1);

/// How long entries gather before they are taken: far less than the time between two checkpoints.
const GATHER: Duration = Duration::from_millis(20);

/// Entries after which to look whether the log is being closed: a tenth of a second.
const SLICE_ENTRIES: u64 = 65_536;

/// How long to catch up when the log is being closed; the next start goes on.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// How long to wait for a blob that an entry names and that is not there.
const BLOB_PAUSE: Duration = Duration::from_secs(1);

/// Time between snapshots of a quiet log.
const SAVE_INTERVAL: Duration = Duration::from_secs(3_600);

/// Entries after which a snapshot is made: what a start takes up again in a few seconds.
const SAVE_ENTRIES: u64 = 4_000_000;
