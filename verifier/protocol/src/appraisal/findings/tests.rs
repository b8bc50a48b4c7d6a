use messages::FINDING_TEXT_BYTES_MAX;

use super::*;

fn text(found: &str) -> FindingText {
    FindingText::new("PCR 1 of bank sha256", found, "something else")
}

#[test]
fn findings_past_the_limit_are_counted() {
    let mut findings = Findings::default();
    for index in 0..1_000 {
        findings.pcr(&format!("invalid_pcr_{index}"), text(&"x".repeat(600)));
    }
    let all = findings.to_vec();
    assert_eq!(all.len(), FINDINGS_MAX);
    assert!(all.iter().all(|finding| finding.text.to_string().len() <= FINDING_TEXT_BYTES_MAX));
    assert_eq!(all.last().map(|last| last.text.to_string()).as_deref(), Some("905 more findings were cut"));
}

#[test]
fn notices_fail_nobody_and_come_last() {
    let mut findings = Findings::default();
    for index in 0..20 {
        findings.notice("ima", "excluded", text(&format!("pattern {index}")));
    }
    assert!(findings.is_empty());
    assert_eq!(findings.to_vec().len(), NOTICES_MAX + 1);
    findings.pcr("invalid_pcr_1", text("x"));
    assert!(!findings.is_empty());
    let all = findings.to_vec();
    assert_eq!(all.first().map(Finding::severity_label), Some("emergency"));
    assert!(all.iter().skip(1).all(|notice| notice.severity_label() == "info"));
    assert_eq!(all.last().map(|last| last.text.to_string()).as_deref(), Some("4 more notices were cut"));
}

#[test]
fn few_findings_stay_as_they_are() {
    let mut findings = Findings::default();
    findings.quote("invalid_data", text("ä"));
    assert_eq!(findings.to_vec().len(), 1);
    assert_eq!(findings.first().map(|first| first.text.clone()), Some(text("ä")));
    assert_eq!(findings.first().map(Finding::event_id).as_deref(), Some("qoute_validation.invalid_data"));
}
