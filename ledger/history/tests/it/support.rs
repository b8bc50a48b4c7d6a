//! What the tests of this crate share.

use fixtures_histories::{ORIGIN, SyntheticLog};
use ledger_history::interval::{
    IntervalProof, IntervalRefused, IntervalStatement, Request, Trust, Witnesses, prove, verify,
};
use ledger_protocol::body::VerdictResult;
use messages::AgentId;

/// A log with three witnesses, two of which suffice, and the auditor's copy of their policy.
pub(crate) fn witnessed() -> (SyntheticLog, Witnesses) {
    let log = SyntheticLog::new(3, 2);
    let witnesses = Witnesses::parse(&log.keys().policy_file()).unwrap();
    (log, witnesses)
}

/// Quotes every 10 s for so long, each 2 s after a checkpoint, with a census at the end of each minute.
pub(crate) fn run(log: &mut SyntheticLog, agents: &[&AgentId], seconds: u64) {
    run_with(log, agents, seconds, VerdictResult::Pass);
}

pub(crate) fn run_with(log: &mut SyntheticLog, agents: &[&AgentId], seconds: u64, result: VerdictResult) {
    log.run(agents, seconds, result);
}

pub(crate) fn request(log: &SyntheticLog, agent: &AgentId, from: u64, to: u64) -> Request {
    log.request(agent, from, to)
}

pub(crate) fn check(
    log: &SyntheticLog,
    witnesses: Option<&Witnesses>,
    agent: &AgentId,
    proof: &[u8],
) -> Result<IntervalStatement, IntervalRefused> {
    verify(proof, agent, &Trust { origin: ORIGIN, log: log.log_key(), witnesses, authorities: None })
}

/// Makes a proof and verifies it.
pub(crate) fn proven(
    log: &SyntheticLog,
    witnesses: &Witnesses,
    request: &Request,
) -> (IntervalProof, IntervalStatement) {
    let proof = prove(log, request).unwrap();
    let statement = check(log, Some(witnesses), &request.agent, &proof.encode()).unwrap();
    (proof, statement)
}
