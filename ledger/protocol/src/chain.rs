//! Where every chain stands, and what may follow: the rules that each entry of the log obeys.

use std::collections::HashMap;

use messages::cbor::CborError;
use messages::ledger::Head;
use messages::{AgentId, Digest, UnixMillis};
use serde_repr::{Deserialize_repr, Serialize_repr};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::body::glance::{self, QuoteGlance, VerdictGlance};
use crate::body::{
    Body, CENSUS_SUMS_BYTES, CensusBody, CheckpointBody, Enrol, Genesis, KeyRelease, Maintenance, PolicyBody,
    ReleasePhase, Retire, Revocation, ServiceStart, TimestampBody, VerdictResult,
};
use crate::entry::EntryRef;
use crate::{Beacon, Kind};

mod rule;

pub use rule::RuleBroken;

/// Everything the rules need to know of the log so far: a function of its entries.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogState {
    agents: HashMap<AgentId, AgentChain>,
    totals: LogTotals,
}

/// What belongs to no one agent.
#[derive(Clone, Copy, Debug, Default, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct LogTotals {
    /// Entries so far.
    pub size: u64,
    /// The sequencer's clock at the last of them.
    pub recorded: UnixMillis,
    /// The slot the next new agent must be enrolled into.
    pub next_slot: u64,
    /// End of the fleet's chain.
    pub fleet: Head,
    /// Index of the fleet's last entry.
    pub fleet_index: Option<u64>,
    /// Entries under the last checkpoint entry, 0 before the first.
    pub checkpoint_size: u64,
    /// Entries under the last census entry, 0 before the first.
    pub census_size: u64,
    /// Number that the next census must have.
    pub census_epoch: u64,
}

/// Where one agent's chain stands.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct AgentChain {
    /// The chain's end.
    pub head: Head,
    /// Index of its last entry.
    pub last_index: u64,
    /// The agent's place in the census, for good.
    pub slot: u64,
    /// Whether it is in the fleet.
    pub standing: Standing,
    /// Size of the checkpoint its latest quote rests on.
    pub beacon_size: u64,
    /// Leaf hash of the latest quote since it was enrolled, until there is a verdict on it.
    pub quote: Option<Digest>,
    /// The EK–AK–id record of the policy in force since it was enrolled.
    pub binding: Option<Digest>,
    /// The latest verdict since it was enrolled.
    pub verdict: Option<LatestVerdict>,
    /// Keys whose release is authorised since it was enrolled, oldest first, at most
    /// [`AUTHORISED_KEYS_MAX`].
    pub authorised: Vec<AuthorisedKey>,
}

/// Whether an agent is in the fleet.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum Standing {
    /// Enrolled and not retired.
    Enrolled = 0,
    /// Retired; may be enrolled again.
    Retired = 1,
}

/// A verdict, as far as later entries depend on it.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct LatestVerdict {
    /// Its leaf hash.
    pub leaf_hash: Digest,
    /// Whether it was a pass.
    pub passed: bool,
}

/// A key that may be, or has been, delivered.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct AuthorisedKey {
    /// Its name.
    pub key_id: Digest,
    /// Leaf hash of the passing verdict.
    pub verdict: Digest,
}

/// Authorised keys remembered for one agent. It has one at a time; a new one comes with each
/// provisioning, and a delivery is recorded seconds after its authorisation.
pub const AUTHORISED_KEYS_MAX: usize = 16;

impl LogState {
    /// Takes up a state that was saved as its parts.
    pub fn restore(totals: LogTotals, agents: impl IntoIterator<Item = (AgentId, AgentChain)>) -> Self {
        Self { agents: agents.into_iter().collect(), totals }
    }

    /// What belongs to no one agent.
    #[must_use]
    pub fn totals(&self) -> &LogTotals {
        &self.totals
    }

    /// Where an agent's chain stands; `None` if it has no entries.
    #[must_use]
    pub fn agent(&self, agent: &AgentId) -> Option<&AgentChain> {
        self.agents.get(agent)
    }

    /// Every agent that has entries, in no order.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, &AgentChain)> {
        self.agents.iter()
    }

    /// The end of a chain; `None` is the fleet's.
    #[must_use]
    pub fn head(&self, agent: Option<&AgentId>) -> Head {
        match agent {
            None => self.totals.fleet,
            Some(agent) => self.agents.get(agent).map_or_else(Head::default, |chain| chain.head),
        }
    }

    /// Index of a chain's last entry.
    #[must_use]
    pub fn last_index(&self, agent: Option<&AgentId>) -> Option<u64> {
        match agent {
            None => self.totals.fleet_index,
            Some(agent) => self.agents.get(agent).map(|chain| chain.last_index),
        }
    }

    /// Appends an entry whose bytes have the hash `leaf_hash`, if the rules allow it.
    ///
    /// `signed` tells the digest of the checkpoint of a size, if this log has signed one.
    ///
    /// # Errors
    /// The first rule that the entry breaks; the state is then unchanged.
    pub fn apply<'a>(
        &mut self,
        entry: impl Into<EntryRef<'a>>,
        leaf_hash: Digest,
        signed: impl Fn(u64) -> Option<Digest>,
    ) -> Result<(), RuleBroken> {
        let entry = entry.into();
        let chain = entry.agent.and_then(|agent| self.agents.get_mut(agent.as_str()));
        let begun = follow(&mut self.totals, chain, &entry, leaf_hash, signed)?;
        if let (Some(agent), Some(chain)) = (entry.agent, begun) {
            self.agents.insert(agent.to_id(), chain);
        }
        Ok(())
    }

    /// A copy of what a group for one chain can change.
    pub(crate) fn draft(&self, agent: Option<&AgentId>) -> Draft {
        Draft { chain: agent.and_then(|agent| self.agents.get(agent).cloned()), totals: self.totals }
    }

    /// Makes a draft of this state the state.
    pub(crate) fn accept(&mut self, agent: Option<&AgentId>, draft: Draft) {
        self.totals = draft.totals;
        if let (Some(agent), Some(chain)) = (agent, draft.chain) {
            match self.agents.get_mut(agent) {
                Some(known) => *known = chain,
                None => {
                    self.agents.insert(agent.clone(), chain);
                }
            }
        }
    }
}

/// One chain and the totals, changed entry by entry and kept only if all of a group is allowed.
pub(crate) struct Draft {
    chain: Option<AgentChain>,
    totals: LogTotals,
}

impl Draft {
    pub(crate) fn totals(&self) -> &LogTotals {
        &self.totals
    }

    /// Index of the chain's last entry.
    pub(crate) fn last_index(&self, agent: Option<&AgentId>) -> Option<u64> {
        match agent {
            None => self.totals.fleet_index,
            Some(_) => self.chain.as_ref().map(|chain| chain.last_index),
        }
    }

    pub(crate) fn head(&self, agent: Option<&AgentId>) -> Head {
        match agent {
            None => self.totals.fleet,
            Some(_) => self.chain.as_ref().map_or_else(Head::default, |chain| chain.head),
        }
    }

    /// As [`LogState::apply`].
    pub(crate) fn apply(
        &mut self,
        entry: &EntryRef<'_>,
        leaf_hash: Digest,
        signed: impl Fn(u64) -> Option<Digest>,
    ) -> Result<(), RuleBroken> {
        if let Some(begun) = follow(&mut self.totals, self.chain.as_mut(), entry, leaf_hash, signed)? {
            self.chain = Some(begun);
        }
        Ok(())
    }
}

/// Appends an entry to `chain`, its agent's, which is none before the agent's first; returns the chain that it begins.
/// Where a rule is broken nothing is changed: every rule is looked at before the first change.
///
/// The checks, in order: the log begins with genesis; the clock does not go back; number and
/// predecessor continue the chain; then what the kind demands.
fn follow(
    totals: &mut LogTotals,
    chain: Option<&mut AgentChain>,
    entry: &EntryRef<'_>,
    leaf_hash: Digest,
    signed: impl Fn(u64) -> Option<Digest>,
) -> Result<Option<AgentChain>, RuleBroken> {
    let index = totals.size;
    if (entry.kind == Kind::Genesis) != (index == 0) {
        return Err(RuleBroken::Genesis { kind: entry.kind, index });
    }
    if entry.recorded < totals.recorded {
        return Err(RuleBroken::Recorded { last: totals.recorded, found: entry.recorded });
    }
    let expected = match entry.agent {
        None => totals.fleet,
        Some(_) => chain.as_ref().map_or_else(Head::default, |chain| chain.head),
    };
    let found = Head { seq: entry.seq, prev: entry.prev };
    if expected != found {
        return Err(RuleBroken::Head { expected, found });
    }
    let head = Head { seq: entry.seq + 1, prev: leaf_hash };
    let mut begun = None;
    match (entry.agent, chain) {
        (None, _) => {
            totals.apply(entry, signed)?;
            (totals.fleet, totals.fleet_index) = (head, Some(index));
        }
        (Some(_), chain) if entry.kind == Kind::Enrol => {
            let enrolled = totals.enrol(&decode(entry)?, chain.as_deref(), (head, index))?;
            match chain {
                Some(known) => *known = enrolled,
                None => begun = Some(enrolled),
            }
        }
        (Some(_), chain) => {
            let enrolled = chain.filter(|chain| chain.standing == Standing::Enrolled);
            let chain = enrolled.ok_or(RuleBroken::NotEnrolled { kind: entry.kind })?;
            chain.apply(entry, leaf_hash, signed)?;
            (chain.head, chain.last_index) = (head, index);
        }
    }
    totals.size += 1;
    totals.recorded = entry.recorded;
    Ok(begun)
}

impl LogTotals {
    fn apply(&mut self, entry: &EntryRef<'_>, signed: impl Fn(u64) -> Option<Digest>) -> Result<(), RuleBroken> {
        let kind = entry.kind;
        match kind {
            Kind::Genesis => decode::<Genesis>(entry).map(drop),
            Kind::Checkpoint => self.checkpoint(decode(entry)?, signed),
            Kind::Census => self.census(&decode(entry)?),
            Kind::OperatorAction => glance::operator_action(entry.body).map_err(body_of(kind)),
            Kind::Policy => match decode(entry)? {
                PolicyBody::Named(_) => Ok(()),
                PolicyBody::Agent(_) => Err(RuleBroken::Chain { kind, chain: FLEET_CHAIN }),
            },
            Kind::Revocation => decode::<Revocation>(entry).map(drop),
            Kind::ServiceStart => decode::<ServiceStart>(entry).map(drop),
            Kind::Timestamp => {
                let TimestampBody { tree_size, note, .. } = decode(entry)?;
                expect_signed(tree_size, note, signed)
            }
            Kind::Unknown(_) => Ok(()),
            Kind::Enrol
            | Kind::KeyRelease
            | Kind::Maintenance
            | Kind::Miss
            | Kind::Quote
            | Kind::Retire
            | Kind::Verdict => Err(RuleBroken::Chain { kind, chain: FLEET_CHAIN }),
        }
    }

    fn checkpoint(&mut self, body: CheckpointBody, signed: impl Fn(u64) -> Option<Digest>) -> Result<(), RuleBroken> {
        let CheckpointBody { tree_size: found, note } = body;
        let (last, index) = (self.checkpoint_size, self.size);
        if found <= last || found > index {
            return Err(RuleBroken::CheckpointSize { last, found, index });
        }
        expect_signed(found, note, signed)?;
        self.checkpoint_size = found;
        Ok(())
    }

    /// F and root are for whoever keeps the histories to compare.
    fn census(&mut self, body: &CensusBody) -> Result<(), RuleBroken> {
        let Self { checkpoint_size: expected, census_size, census_epoch: expected_epoch, .. } = *self;
        let (found, epoch) = (body.prefix_size, body.epoch);
        if found != expected || found == census_size || epoch != expected_epoch {
            return Err(RuleBroken::Census { expected, found, expected_epoch, epoch });
        }
        if body.sums.len() != CENSUS_SUMS_BYTES {
            return Err(RuleBroken::CensusSums { found: body.sums.len() });
        }
        self.census_size = found;
        self.census_epoch += 1;
        Ok(())
    }

    /// The chain of an agent that is enrolled by an entry after which it stands at `head` and the entry's index.
    fn enrol(
        &mut self,
        enrol: &Enrol,
        known: Option<&AgentChain>,
        (head, last_index): (Head, u64),
    ) -> Result<AgentChain, RuleBroken> {
        let (slot, beacon_size) = match known {
            None => (self.next_slot, 0),
            Some(chain) if chain.standing == Standing::Enrolled => return Err(RuleBroken::AlreadyEnrolled),
            Some(chain) => (chain.slot, chain.beacon_size),
        };
        if enrol.slot != slot {
            return Err(RuleBroken::Slot { expected: slot, found: enrol.slot });
        }
        if known.is_none() {
            self.next_slot += 1;
        }
        // A new binding starts with nothing: no verdict on the old AK authorises anything.
        Ok(AgentChain {
            head,
            last_index,
            slot,
            standing: Standing::Enrolled,
            beacon_size,
            quote: None,
            binding: None,
            verdict: None,
            authorised: Vec::new(),
        })
    }
}

impl AgentChain {
    fn apply(
        &mut self,
        entry: &EntryRef<'_>,
        leaf_hash: Digest,
        signed: impl Fn(u64) -> Option<Digest>,
    ) -> Result<(), RuleBroken> {
        let kind = entry.kind;
        match kind {
            Kind::Quote => self.quote(&QuoteGlance::read(entry.body).map_err(body_of(kind))?, leaf_hash, signed),
            Kind::Verdict => self.verdict(&VerdictGlance::read(entry.body, |_| {}).map_err(body_of(kind))?, leaf_hash),
            Kind::KeyRelease => self.key_release(&decode(entry)?),
            Kind::Policy => match decode(entry)? {
                PolicyBody::Agent(policy) => {
                    self.binding = Some(policy.binding);
                    Ok(())
                }
                PolicyBody::Named(_) => Err(RuleBroken::Chain { kind, chain: AGENT_CHAIN }),
            },
            Kind::Retire => {
                decode::<Retire>(entry)?;
                self.standing = Standing::Retired;
                Ok(())
            }
            Kind::Miss => glance::miss(entry.body).map_err(body_of(kind)),
            Kind::OperatorAction => glance::operator_action(entry.body).map_err(body_of(kind)),
            Kind::Revocation => decode::<Revocation>(entry).map(drop),
            Kind::Maintenance => {
                let Maintenance { from, to, .. } = decode(entry)?;
                if from < to { Ok(()) } else { Err(RuleBroken::MaintenanceWindow { from, to }) }
            }
            Kind::Unknown(_) => Ok(()),
            Kind::Genesis | Kind::Enrol | Kind::Checkpoint | Kind::Timestamp | Kind::Census | Kind::ServiceStart => {
                Err(RuleBroken::Chain { kind, chain: AGENT_CHAIN })
            }
        }
    }

    fn quote(
        &mut self,
        body: &QuoteGlance,
        leaf_hash: Digest,
        signed: impl Fn(u64) -> Option<Digest>,
    ) -> Result<(), RuleBroken> {
        let Beacon { tree_size, note_digest } = body.beacon;
        if tree_size < self.beacon_size {
            return Err(RuleBroken::BeaconBack { last: self.beacon_size, found: tree_size });
        }
        expect_signed(tree_size, note_digest, signed)?;
        self.beacon_size = tree_size;
        self.quote = Some(leaf_hash);
        Ok(())
    }

    fn verdict(&mut self, body: &VerdictGlance, leaf_hash: Digest) -> Result<(), RuleBroken> {
        if self.quote != Some(body.quote) {
            return Err(RuleBroken::Quote { latest: self.quote, found: body.quote });
        }
        if let Some(expected) = self.binding.filter(|expected| *expected != body.binding) {
            return Err(RuleBroken::Binding { expected, found: body.binding });
        }
        // The first verdict on a quote counts: there is no second.
        self.quote = None;
        self.verdict = Some(LatestVerdict { leaf_hash, passed: body.result == VerdictResult::Pass });
        Ok(())
    }

    fn key_release(&mut self, body: &KeyRelease) -> Result<(), RuleBroken> {
        let known = self.authorised.iter().find(|key| key.key_id == body.key_id).copied();
        let not_authorised = RuleBroken::NotAuthorised { key_id: body.key_id };
        // Delivery is a fact that may become known after the next verdict: it may name the
        // verdict that authorised it. All else is about the present.
        if body.phase == ReleasePhase::Delivered && known.is_some_and(|key| key.verdict == body.verdict) {
            return Ok(());
        }
        let latest = self.verdict.filter(|verdict| verdict.leaf_hash == body.verdict);
        let Some(latest) = latest else {
            let latest = self.verdict.map(|verdict| verdict.leaf_hash);
            return Err(RuleBroken::Verdict { latest, found: body.verdict });
        };
        match body.phase {
            ReleasePhase::Authorised if latest.passed => {
                self.authorise(AuthorisedKey { key_id: body.key_id, verdict: body.verdict });
                Ok(())
            }
            ReleasePhase::Authorised => Err(RuleBroken::NotPassed),
            ReleasePhase::Delivered | ReleasePhase::Revoked => known.map(drop).ok_or(not_authorised),
            ReleasePhase::Withheld => Ok(()),
        }
    }

    fn authorise(&mut self, key: AuthorisedKey) {
        self.authorised.retain(|known| known.key_id != key.key_id);
        if self.authorised.len() >= AUTHORISED_KEYS_MAX {
            self.authorised.remove(0);
        }
        self.authorised.push(key);
    }
}

fn expect_signed(
    tree_size: u64,
    note_digest: Digest,
    signed: impl Fn(u64) -> Option<Digest>,
) -> Result<(), RuleBroken> {
    if signed(tree_size) == Some(note_digest) {
        Ok(())
    } else {
        Err(RuleBroken::BeaconUnknown { tree_size, note_digest })
    }
}

fn decode<B: Body>(entry: &EntryRef<'_>) -> Result<B, RuleBroken> {
    B::decode(entry.body).map_err(body_of(entry.kind))
}

fn body_of(kind: Kind) -> impl Fn(CborError) -> RuleBroken {
    move |source| RuleBroken::Body { kind, source }
}

const AGENT_CHAIN: &str = "an agent's chain";
const FLEET_CHAIN: &str = "the fleet's chain";

#[cfg(test)]
mod tests;
