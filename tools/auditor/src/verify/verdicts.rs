//! Check "verdicts": each is about the right quote, under what was in force.

use ledger_protocol::body::{AgentPolicy, Verdict};
use messages::Digest;

use crate::{
    history::{History, ProvenEntry, place},
    report::{Check, CheckName},
};

const FALSE_LOG: &str = "keep the bundle: it is signed proof against the log's operator";

/// For each verdict: 1. it names the chain's latest quote; 2. a policy is in force; 3. it applies exactly that policy's
/// blobs; 4. under the binding of the policy and of the enrolment.
pub(super) fn check(history: &History) -> Check {
    let mut check = Check::new(CheckName::Verdicts);
    for (position, entry, verdict) in history.verdicts() {
        check.examine();
        let before = history.in_force(position);
        match before.quote.and_then(|quote| history.get(quote)) {
            // Export begins a run with a quote, so a run that does not has been cut.
            None => check.refute(place(entry), "the quote it judges is not before it in the bundle", FALSE_LOG),
            Some(quote) if quote.leaf != verdict.quote => {
                let problem = format!("it judges quote {}; the latest is entry {}", verdict.quote, quote.index);
                check.refute(place(entry), problem, FALSE_LOG);
            }
            Some(_) => {}
        }
        let Some(policy) = history.policy(before.policy) else {
            check.refute(place(entry), "no policy is in force for the agent", FALSE_LOG);
            continue;
        };
        check_policies(entry, verdict, policy, &mut check);
        let enrolled = history.enrol(before.enrol).map(|enrol| enrol.binding);
        check_binding(entry, verdict, policy, enrolled, &mut check);
    }
    check
}

fn check_policies(entry: &ProvenEntry, verdict: &Verdict, policy: &AgentPolicy, check: &mut Check) {
    let in_force: Vec<Digest> = policy.policies.iter().map(|policy| policy.digest).collect();
    if verdict.policies != in_force {
        let (found, expected) = (list(&verdict.policies), list(&in_force));
        let problem = format!("it applies the policies {found}; in force are {expected}");
        check.refute(place(entry), problem, FALSE_LOG);
    }
}

fn check_binding(
    entry: &ProvenEntry,
    verdict: &Verdict,
    policy: &AgentPolicy,
    enrolled: Option<Digest>,
    check: &mut Check,
) {
    for (binding, whose) in [(Some(policy.binding), "the policy in force"), (enrolled, "the enrolment")] {
        if let Some(binding) = binding.filter(|binding| *binding != verdict.binding) {
            let problem = format!("it judges under binding {}; {whose} names {binding}", verdict.binding);
            check.refute(place(entry), problem, FALSE_LOG);
        }
    }
}

fn list(digests: &[Digest]) -> String {
    if digests.is_empty() {
        "none".to_owned()
    } else {
        digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
    }
}
