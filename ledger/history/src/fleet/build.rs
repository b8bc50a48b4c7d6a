//! Makes a proof of the fleet from what a ledger keeps.

use ledger_protocol::body::{AgentPolicy, Body, PolicyBody};
use ledger_protocol::{Entry, Kind};
use messages::Digest;
use serde_bytes::ByteBuf;

use super::{FleetCensus, FleetProof, Machine};
use crate::census::{CensusRow, Status};
use crate::interval::{CensusChoice, Maker, NotProven, Store, StoredCensus, TermsPart, VERSION};
use crate::node::terms_after;

/// What a proof of the fleet is to show.
#[derive(Clone, Debug)]
pub struct FleetRequest {
    /// First second asked about.
    pub from: u64,
    /// Last second asked about.
    pub to: u64,
    /// Which machines are opened.
    pub selection: Selection,
}

/// Which machines are opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// Those on which something failed, was missed or late, or that miss a quote at the end; the first
    /// [`EXCEPTIONS_MAX`].
    Exceptions,
    /// Every one that ever was enrolled, with its terms: so that no other machine can have a label.
    All,
    /// Every one of which a policy between the two censuses has this label: name and value.
    Label(String, String),
}

/// Exceptions opened at most: each takes 2 KB or so in a fleet of a thousand.
pub const EXCEPTIONS_MAX: usize = 64;

/// Makes the proof for `request`.
///
/// Looks at the row of every slot in both censuses.
///
/// # Errors
/// [`NotProven`] if the store cannot be read, or holds no census.
pub fn prove<S: Store>(store: &S, request: &FleetRequest) -> Result<FleetProof, NotProven<S::Error>> {
    let FleetRequest { from, to, .. } = *request;
    if from > to {
        return Err(NotProven::Interval { from, to });
    }
    let (tree_size, note) = store.latest_note().map_err(NotProven::Store)?;
    let census = |choice, slot| store.census(choice, slot, tree_size).map_err(NotProven::Store);
    let end = census(CensusChoice::After(to), 0)?.ok_or(NotProven::NoCensus { slot: 0 })?;
    let start = census(CensusChoice::Before(from), 0)?.filter(|start| start.prefix_size < end.prefix_size);
    let maker = Maker { store, tree_size };
    let mut machines = Vec::new();
    for slot in 0..end.opening.slots {
        let at_end = census(CensusChoice::After(to), slot)?.ok_or(NotProven::NoCensus { slot })?.opening;
        let at_start = match &start {
            None => None,
            Some(_) => census(CensusChoice::Before(from), slot)?.map(|census| census.opening),
        };
        let Some(row) = at_end.row else { continue };
        let before = at_start.as_ref().and_then(|opening| opening.row);
        let terms = match &request.selection {
            Selection::Exceptions => {
                if machines.len() >= EXCEPTIONS_MAX || !is_exception(before.as_ref(), &row) {
                    continue;
                }
                None
            }
            Selection::All => Some(terms_since(&maker, (before.as_ref(), &row), end.prefix_size)?.0),
            Selection::Label(name, value) => {
                let (terms, policies) = terms_since(&maker, (before.as_ref(), &row), end.prefix_size)?;
                let has = |policy: &AgentPolicy| {
                    policy.labels.iter().any(|label| label.name == *name && label.value == *value)
                };
                if !policies.iter().any(has) {
                    continue;
                }
                Some(terms)
            }
        };
        let agent = store.agent(slot).map_err(NotProven::Store)?;
        machines.push(Machine { slot, agent, start: at_start, end: at_end, terms });
    }
    let start_to_end = match &start {
        None => Vec::new(),
        Some(start) => maker.consistency(start.prefix_size, end.prefix_size)?,
    };
    Ok(FleetProof {
        version: VERSION,
        from,
        to,
        end_to_note: maker.consistency(end.prefix_size, tree_size)?,
        start: start.map(|start| part(&maker, start)).transpose()?,
        end: part(&maker, end)?,
        note: ByteBuf::from(note),
        start_to_end,
        machines,
    })
}

fn is_exception(before: Option<&CensusRow>, row: &CensusRow) -> bool {
    let counts = |row: &CensusRow| (row.aggregate.fails, row.aggregate.misses, row.aggregate.late);
    row.status == Status::Missed || counts(row) != before.map_or((0, 0, 0), counts)
}

fn part<S: Store>(maker: &Maker<'_, S>, census: StoredCensus) -> Result<FleetCensus, NotProven<S::Error>> {
    let (clock, slots) = (census.opening.clock, census.opening.slots);
    let top = census.opening.computed_top();
    let part = maker.census(census)?;
    Ok(FleetCensus {
        index: part.index,
        entry: part.entry,
        inclusion: part.inclusion,
        note: part.note,
        clock,
        slots,
        top,
    })
}

/// The terms up to `row` from the policy that was in force at the row `before` on, else from the agent's first on; and the policies
/// in them.
fn terms_since<S: Store>(
    maker: &Maker<'_, S>,
    (before, row): (Option<&CensusRow>, &CensusRow),
    covered: u64,
) -> Result<(TermsPart, Vec<AgentPolicy>), NotProven<S::Error>> {
    let mut indices = maker.store.terms(row.slot).map_err(NotProven::Store)?;
    indices.retain(|index| *index < covered);
    let mut chain = Digest::ZERO;
    let (mut begin, mut entries, mut policies) = (Digest::ZERO, Vec::new(), Vec::new());
    let mut at_start = before.is_none();
    for index in indices {
        let bytes = maker.entry(index)?;
        let entry = Entry::decode(&bytes).map_err(|source| NotProven::Entry { index, source })?;
        if entry.kind == Kind::Policy {
            let body = PolicyBody::decode(&entry.body).map_err(|source| NotProven::Body { index, source })?;
            if let PolicyBody::Agent(policy) = body {
                // Up to the begin a later policy takes the place of all that was before it.
                if !at_start {
                    (begin, entries, policies) = (chain, Vec::new(), Vec::new());
                }
                policies.push(policy);
            }
        }
        chain = terms_after(&chain, &Entry::leaf_hash(&bytes));
        at_start = at_start || before.is_some_and(|row| row.terms == chain);
        entries.push(ByteBuf::from(bytes));
    }
    // A machine whose label is not where it should be would be left out in silence.
    if chain != row.terms {
        return Err(NotProven::Contradiction { what: "an agent's terms are not those of its census row" });
    }
    Ok((TermsPart { before: begin, entries }, policies))
}
