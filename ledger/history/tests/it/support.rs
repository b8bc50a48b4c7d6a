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
    for round in 0..seconds / 10 {
        log.advance_ms(2_000);
        for agent in agents {
            log.quote(agent, result);
        }
        log.advance_ms(1_000);
        log.checkpoint();
        if round % 6 == 5 {
            log.census();
        }
        log.advance_ms(7_000);
        // The beacon of the next round.
        log.checkpoint();
    }
}

pub(crate) fn request(log: &SyntheticLog, agent: &AgentId, from: u64, to: u64) -> Request {
    Request {
        agent: agent.clone(),
        slot: log.slot(agent),
        from,
        to,
        gap_limit: 25,
        boots: false,
        full: false,
        stamps: vec![],
    }
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
