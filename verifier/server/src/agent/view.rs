//! What others may see of an agent's task while it works.

use std::sync::Arc;

use messages::{
    FindingText, UnixMillis,
    keylime::{AgentStatus, AttestationStatus},
};
use verifier_protocol::{
    appraisal::SEVERITY_MAX,
    session::{Activity, Record, Session, Settings, Trust},
    status::standing,
};

use crate::{
    maintenance::Windows,
    services::Services,
    store::{Algorithms, StoredAgent},
    terms::Terms,
};

/// An agent as of its task's last step. Everything that depends on time is computed when read.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) terms: Arc<Terms>,
    /// Whether a round or a delivery is on its way.
    pub(crate) in_flight: bool,
    activity: Activity,
    algorithms: Algorithms,
    /// What the last failure says.
    pub(super) finding: Option<FindingText>,
    record: Record,
    settings: Settings,
    trouble: Option<String>,
    windows: Windows,
}

impl View {
    /// An agent whose task has not begun. Its last pass does not count yet, as in the session.
    pub(crate) fn of(stored: &StoredAgent, settings: Settings) -> Self {
        let mut record = stored.record.record.clone();
        if let Trust::Passed { at } = record.trust {
            record.trust = Trust::Unproven { since: at };
        }
        Self {
            terms: Arc::new(stored.terms.terms.clone()),
            in_flight: false,
            activity: Activity::Attesting,
            algorithms: stored.record.algorithms.clone(),
            finding: stored.record.finding.clone(),
            record,
            settings,
            trouble: None,
            windows: stored.record.windows.clone(),
        }
    }

    pub(super) fn update(&mut self, session: &Session, algorithms: &Algorithms, windows: &Windows, in_flight: bool) {
        self.in_flight = in_flight;
        self.activity = session.activity();
        if self.algorithms != *algorithms {
            self.algorithms = algorithms.clone();
        }
        if self.windows != *windows {
            self.windows = windows.clone();
        }
        self.record = session.record().clone();
        self.settings = *session.settings();
        self.trouble = session.trouble().map(str::to_owned);
    }

    /// The task has died: whatever it knew last is no longer watched over.
    pub(crate) fn mark_broken(&mut self, text: String) {
        self.in_flight = false;
        self.trouble = Some(text);
        if let Trust::Passed { at } = self.record.trust {
            self.record.trust = Trust::Unproven { since: at };
        }
    }

    pub(crate) fn status(&self, services: &Services, now: UnixMillis) -> AgentStatus {
        let Self { terms, record, settings, .. } = self;
        let standing = standing(record, settings, self.activity, self.trouble.as_deref(), now);
        let failed = standing.attestation_status == AttestationStatus::Fail && record.last_event.is_some();
        let seconds = |at: Option<UnixMillis>| at.map_or(0, |at| at.0 / 1_000);
        AgentStatus {
            operational_state: standing.operational_state,
            v: None,
            ip: Some(terms.host.clone()),
            port: Some(terms.port),
            tpm_policy: terms.tpm_policy.clone(),
            meta_data: terms.metadata.clone(),
            has_mb_refstate: terms.measured_boot.is_some().into(),
            has_runtime_policy: terms.runtime.is_some().into(),
            accept_tpm_hash_algs: terms.accept_hash.clone(),
            accept_tpm_encryption_algs: terms.accept_encryption.clone(),
            accept_tpm_signing_algs: terms.accept_signing.clone(),
            hash_alg: self.algorithms.hash.clone(),
            enc_alg: self.algorithms.enc.clone(),
            sign_alg: self.algorithms.sign.clone(),
            verifier_id: services.verifier_id.clone(),
            verifier_ip: terms.verifier_ip.clone(),
            verifier_port: terms.verifier_port,
            severity_level: failed.then_some(SEVERITY_MAX),
            last_event_id: record.last_event.clone(),
            last_finding: self.finding.clone().filter(|_| record.last_event.is_some()),
            attestation_count: record.attestation_count,
            last_received_quote: seconds(record.last_received),
            last_successful_attestation: seconds(record.last_success),
            attestation_status: standing.attestation_status,
            attestation_period: in_seconds(settings.interval_ms),
            maximum_attestation_interval: in_seconds(settings.age_max_ms()),
            reason: standing.reason,
            quote_age_ms: standing.quote_age_ms,
            key_state: Some(record.key.name().to_owned()),
            labels: terms.labels.clone(),
            binding: terms.bound.binding,
            maintenance: self.windows.ahead(now),
        }
    }
}

/// `2s`, `0.25s`.
fn in_seconds(ms: u64) -> String {
    match ms % 1_000 {
        0 => format!("{}s", ms / 1_000),
        rest => format!("{}s", format!("{}.{rest:03}", ms / 1_000).trim_end_matches('0')),
    }
}
