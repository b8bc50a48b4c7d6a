//! Reasons, bounded so that a verdict always fits one entry of the ledger.

use messages::FindingText;

/// Findings kept of one appraisal at most. A verdict's entry may have 65,535 bytes; each finding
/// takes up to [`messages::FINDING_TEXT_BYTES_MAX`] and 100 more for its names, so 96 leave room for the rest.
pub const FINDINGS_MAX: usize = 96;

/// Keylime's default severity labels, least first; a finding's severity is an index into them.
pub const SEVERITY_LABELS: [&str; 7] = ["info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// What every finding has by Keylime's default: the last label.
pub const SEVERITY_MAX: u8 = 6;

/// What is told beside a pass or a failure without being a reason for either: the first label.
pub const SEVERITY_NOTICE: u8 = 0;

/// Notices kept of one appraisal at most, so that a policy of many excludes does not fill each verdict.
const NOTICES_MAX: usize = 16;

/// One reason against evidence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Which check, in Keylime's spelling: `qoute_validation`, `pcr_validation`, `measured_boot`, `ima`, `internal`.
    pub component: &'static str,
    /// Which event of it: `invalid_pcr_15`.
    pub event: String,
    /// Index into [`SEVERITY_LABELS`]; [`SEVERITY_NOTICE`] is told and does not fail the machine.
    pub severity: u8,
    /// Where, what was found, what was expected and by which policy. May quote the evidence: untrusted text.
    pub text: FindingText,
}

impl Finding {
    /// `component.event`, Keylime's event id.
    #[must_use]
    pub fn event_id(&self) -> String {
        format!("{}.{}", self.component, self.event)
    }

    /// The severity's label.
    #[must_use]
    pub fn severity_label(&self) -> &'static str {
        severity_label(self.severity)
    }
}

/// The label of a severity; that of the worst for a number past the last.
#[must_use]
pub fn severity_label(severity: u8) -> &'static str {
    let [.., worst] = SEVERITY_LABELS;
    SEVERITY_LABELS.get(usize::from(severity)).copied().unwrap_or(worst)
}

/// The findings so far: reasons to fail, and notices.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    cut: usize,
    notices: Vec<Finding>,
    notices_cut: usize,
}

impl Findings {
    pub(super) fn quote(&mut self, event: &str, text: FindingText) {
        self.push("qoute_validation", event, text);
    }

    pub(super) fn quote_notice(&mut self, event: &str, text: FindingText) {
        self.notice("qoute_validation", event, text);
    }

    pub(super) fn pcr(&mut self, event: &str, text: FindingText) {
        self.push("pcr_validation", event, text);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.cut == 0
    }

    pub(super) fn first(&self) -> Option<&Finding> {
        self.kept.first()
    }

    pub(super) fn to_vec(&self) -> Vec<Finding> {
        let mut all = self.kept.clone();
        if self.cut > 0 {
            let text = FindingText::parse(&format!("{} more findings were cut", self.cut));
            all.push(Finding { component: "internal", event: "findings_cut".into(), severity: SEVERITY_MAX, text });
        }
        let room = FINDINGS_MAX.saturating_sub(all.len());
        all.extend(self.notices.iter().take(room).cloned());
        if self.notices_cut > 0 && room > self.notices.len() {
            let text = FindingText::parse(&format!("{} more notices were cut", self.notices_cut));
            all.push(Finding { component: "internal", event: "notices_cut".into(), severity: SEVERITY_NOTICE, text });
        }
        all
    }

    /// Takes in findings of before that still hold, as they are.
    pub(super) fn extend(&mut self, other: &Self) {
        for finding in &other.kept {
            self.push(finding.component, &finding.event, finding.text.clone());
        }
        self.cut += other.cut;
        for notice in &other.notices {
            self.notice(notice.component, &notice.event, notice.text.clone());
        }
        self.notices_cut += other.notices_cut;
    }

    /// Counts findings that were not even kept where they were found.
    pub(super) fn cut(&mut self, count: usize) {
        self.cut = self.cut.saturating_add(count);
    }

    /// Something to be told that fails nobody.
    pub(super) fn notice(&mut self, component: &'static str, event: &str, text: FindingText) {
        if self.notices.len() >= NOTICES_MAX {
            self.notices_cut += 1;
            return;
        }
        let event = event.to_owned();
        self.notices.push(Finding { component, event, severity: SEVERITY_NOTICE, text });
    }

    pub(super) fn push(&mut self, component: &'static str, event: &str, text: FindingText) {
        if self.kept.len() + 1 >= FINDINGS_MAX {
            self.cut += 1;
            return;
        }
        let event = event.to_owned();
        self.kept.push(Finding { component, event, severity: SEVERITY_MAX, text });
    }
}

#[cfg(test)]
mod tests;
