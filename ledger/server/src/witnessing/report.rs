//! What operators see of the witnesses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger_tlog::key::PosixSeconds;
use messages::ledger::Info;
use serde::Serialize;

use super::coverage::Coverage;
use super::peer::Peer;

/// What each witness did last.
#[derive(Debug)]
pub(crate) struct Reports(Mutex<Vec<WitnessReport>>);

/// One witness as operators see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WitnessReport {
    /// Name of its key.
    name: String,
    /// Where it is asked.
    url: String,
    /// The largest size it has cosigned since the ledger's start; its lag is the rest.
    cosigned_size: u64,
    /// Its clock in its last cosignature, in seconds since 1970; `None` before the first one.
    cosigned_at: Option<u64>,
    /// Checkpoints in a row that went out without it.
    failures: u64,
    /// Why the last one did.
    problem: Option<String>,
}

/// A ledger's description of itself with its witnesses, if it has any.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    #[serde(flatten)]
    info: Info,
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessing: Option<WitnessingReport>,
}

/// The state of witnessing.
#[derive(Debug, Serialize)]
struct WitnessingReport {
    /// Entries under the latest checkpoint with a quorum of cosignatures.
    witnessed_size: u64,
    witnesses: Vec<WitnessReport>,
}

impl Described {
    pub(crate) fn new(info: Info, coverage: &Coverage) -> Self {
        let witnessing = coverage
            .reports()
            .map(|reports| WitnessingReport { witnessed_size: coverage.witnessed_size(), witnesses: reports.list() });
        Self { info, witnessing }
    }
}

/// How far a witness has come.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    /// Entries that it has cosigned since the ledger's start.
    pub(crate) cosigned_size: u64,
    /// Its clock then, in seconds since 1970.
    pub(crate) cosigned_at: Option<u64>,
}

impl Coverage {
    /// Whether the log has witnesses.
    pub(crate) fn has_witnesses(&self) -> bool {
        self.reports().is_some()
    }

    /// How far each witness has come; nothing for a log without.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        let reports = self.reports().map(Reports::list).unwrap_or_default();
        let standing = |report: WitnessReport| {
            let WitnessReport { name, cosigned_size, cosigned_at, .. } = report;
            Standing { name, cosigned_size, cosigned_at }
        };
        reports.into_iter().map(standing).collect()
    }
}

impl Reports {
    pub(super) fn new(peers: &[Arc<Peer>]) -> Self {
        let reports = peers.iter().map(|peer| WitnessReport {
            name: peer.name().to_owned(),
            url: peer.url().to_owned(),
            cosigned_size: 0,
            cosigned_at: None,
            failures: 0,
            problem: None,
        });
        Self(Mutex::new(reports.collect()))
    }

    fn list(&self) -> Vec<WitnessReport> {
        self.lock().clone()
    }

    pub(super) fn cosigned(&self, number: usize, size: u64, time: PosixSeconds) {
        let mut reports = self.lock();
        let Some(report) = reports.get_mut(number) else { return };
        if report.failures > 0 {
            tracing::info!(witness = report.name, missed = report.failures, "a witness cosigns again");
        }
        if report.cosigned_at.is_some_and(|last| time.0 < last) {
            let (last, now) = (report.cosigned_at, time.0);
            tracing::warn!(witness = report.name, last, now, "a witness's clock has gone back");
        }
        *report = WitnessReport {
            cosigned_size: size,
            cosigned_at: Some(time.0),
            failures: 0,
            problem: None,
            ..report.clone()
        };
    }

    /// One line when it begins and at every doubling, not one each period.
    pub(super) fn failed(&self, number: usize, problem: String) {
        let mut reports = self.lock();
        let Some(report) = reports.get_mut(number) else { return };
        report.failures += 1;
        if report.failures.is_power_of_two() {
            tracing::warn!(witness = report.name, failures = report.failures, problem, "a witness does not cosign");
        }
        report.problem = Some(problem);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WitnessReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
