//! `attestry policy lint`: holes and mistakes in policies, and in the kernel's rules that decide what they get to see.

mod boot;
mod kernel_rules;
mod runtime;

use std::path::Path;

use serde_json::{Value, json};

use super::{arguments::LintArguments, file, loaded::Loaded};
use crate::{failure::Failure, output::outln};

pub(super) fn run(arguments: &LintArguments) -> Result<(), Failure> {
    let mut remarks = Vec::new();
    for path in &arguments.policies {
        let policy = Loaded::read(path)?;
        let found = match &policy {
            Loaded::MeasuredBoot(document) => boot::lint(document),
            Loaded::ReferenceState(state) => boot::lint_reference_state(state),
            Loaded::Runtime(document) => runtime::lint(document),
        };
        remarks.extend(found.into_iter().map(|remark| (path.as_path(), remark)));
    }
    if let Some(path) = &arguments.ima_rules {
        let found = kernel_rules::lint(&file::read_text(path)?);
        remarks.extend(found.into_iter().map(|remark| (path.as_path(), remark)));
    }
    // The worst first; within one severity in the order of the files.
    remarks.sort_by_key(|(_, remark)| remark.severity);
    report(&remarks, arguments.json.json);
    let count = |severity| remarks.iter().filter(|(_, remark)| remark.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors > 0 || (arguments.strict && warnings > 0) {
        return Err(Failure::new(format!("{errors} errors, {warnings} warnings")));
    }
    Ok(())
}

/// The codes of all remarks on a runtime policy, in the order they are made.
#[cfg(test)]
pub(super) fn runtime_codes(document: &super::document::RuntimeDocument) -> Vec<&'static str> {
    runtime::lint(document).into_iter().map(|remark| remark.code).collect()
}

fn report(remarks: &[(&Path, Remark)], json: bool) {
    if json {
        let remarks: Vec<Value> = remarks.iter().map(|(path, remark)| remark.to_value(path)).collect();
        outln!("{}", json!({"remarks": remarks}));
        return;
    }
    for (path, remark) in remarks {
        let Remark { severity, code, place, text, remedy } = remark;
        let place = if place.is_empty() { String::new() } else { format!(" {}", shown(place)) };
        outln!("{}: {} [{code}]{place}: {}", path.display(), severity.name(), shown(text));
        outln!("  remedy: {remedy}");
    }
    if remarks.is_empty() {
        outln!("nothing to remark");
    }
}

/// A policy's text without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// How bad a remark is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// The policy does not do what a policy is for.
    Error,
    /// Something can get past it, or will raise false alarms.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One remark.
#[derive(Clone, Debug)]
struct Remark {
    severity: Severity,
    /// A short name that stays the same.
    code: &'static str,
    /// The member, pattern or rule.
    place: String,
    text: String,
    remedy: &'static str,
}

impl Remark {
    fn error(code: &'static str, place: impl Into<String>, text: impl Into<String>, remedy: &'static str) -> Self {
        Self { severity: Severity::Error, code, place: place.into(), text: text.into(), remedy }
    }

    fn warning(code: &'static str, place: impl Into<String>, text: impl Into<String>, remedy: &'static str) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, text, remedy) }
    }

    fn note(code: &'static str, place: impl Into<String>, text: impl Into<String>, remedy: &'static str) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, place, text, remedy) }
    }

    fn to_value(&self, path: &Path) -> Value {
        json!({
            "file": path.display().to_string(), "severity": self.severity.name(), "code": self.code,
            "place": self.place, "text": self.text, "remedy": self.remedy,
        })
    }
}
