//! The time-stamps that lie under the beacons of the quotes beside the interval's ends.

use std::collections::BTreeSet;

use ledger_protocol::Entry;
use ledger_protocol::body::{Body, TimestampBody};
use ledger_tlog::tree::inclusion_proof;
use serde_bytes::ByteBuf;

use super::tree::StoredTree;
use super::{Maker, NotProven, Shown};
use crate::interval::evidence::challenge;
use crate::interval::format::{BeaconStamp, BeaconStamps, LoggedToken, digests};
use crate::interval::store::Store;
use crate::node::Leaf;

impl Shown {
    /// Looks under the beacons of the leaves beside the ends of `low..high`. The first inside is shown with what is
    /// found; the last inside if there is a token that the ones before it do not have.
    pub(super) fn pick_beacons<S: Store>(
        &mut self,
        maker: &Maker<'_, S>,
        tree: &mut StoredTree<'_, S>,
        agent: &messages::AgentId,
        low: u64,
        high: u64,
    ) -> Result<Option<BeaconStamps>, NotProven<S::Error>> {
        if maker.store.timestamps(maker.tree_size).map_err(NotProven::Store)?.is_empty() {
            return Ok(None);
        }
        let mut found = BeaconStamps { tokens: Vec::new(), beacons: Vec::new() };
        let inside = (low < high).then_some([low, high.saturating_sub(1)]).into_iter().flatten();
        let numbers: BTreeSet<u64> = self.evidence.iter().copied().chain(inside).collect();
        let beside = [low.checked_sub(1), Some(low), high.checked_sub(1), Some(high)];
        for number in numbers.into_iter().filter(|number| beside.contains(&Some(*number))) {
            let known = found.tokens.len();
            let beacons = maker.under_beacon(&tree.leaf(number)?, number, agent, &mut found.tokens)?;
            if number == low || found.tokens.len() > known || self.evidence.contains(&number) {
                if !beacons.is_empty() {
                    self.evidence.insert(number);
                }
                found.beacons.extend(beacons);
            }
        }
        Ok((!found.beacons.is_empty()).then_some(found))
    }
}

impl<S: Store> Maker<'_, S> {
    /// Which tokens the tree of a quote's beacon has; new ones are added to `tokens`.
    fn under_beacon(
        &self,
        leaf: &Leaf,
        number: u64,
        agent: &messages::AgentId,
        tokens: &mut Vec<LoggedToken>,
    ) -> Result<Vec<BeaconStamp>, NotProven<S::Error>> {
        // A quote that answers another nonce is bounded by nothing.
        let Some((beacon, true)) = challenge(&self.entry(leaf.quote_index)?, agent) else { return Ok(Vec::new()) };
        if self.store.blob(&beacon.note_digest).map_err(NotProven::Store)?.is_none() {
            return Ok(Vec::new());
        }
        let mut beacons = Vec::new();
        for index in self.store.timestamps(beacon.tree_size).map_err(NotProven::Store)? {
            let known = tokens.iter().position(|token| token.index == index);
            let at = match (known, known.is_none().then(|| self.token(index)).transpose()?.flatten()) {
                (Some(at), _) => at,
                (None, Some(token)) => {
                    tokens.push(token);
                    tokens.len() - 1
                }
                (None, None) => continue,
            };
            let path = inclusion_proof(index, beacon.tree_size, self.hashes()).map_err(NotProven::Tree)?;
            beacons.push(BeaconStamp { number, token: at as u64, inclusion: digests(path.hashes()) });
        }
        beacons.sort_unstable_by_key(|beacon| beacon.token);
        Ok(beacons)
    }

    /// A `timestamp` entry with what it names, if that is kept.
    fn token(&self, index: u64) -> Result<Option<LoggedToken>, NotProven<S::Error>> {
        let bytes = self.entry(index)?;
        let entry = Entry::decode(&bytes).map_err(|source| NotProven::Entry { index, source })?;
        let body = TimestampBody::decode(&entry.body).map_err(|source| NotProven::Body { index, source })?;
        let blob = |digest| self.store.blob(digest).map_err(NotProven::Store);
        let (Some(note), Some(token)) = (blob(&body.note)?, blob(&body.token)?) else { return Ok(None) };
        let (entry, note, token) = (ByteBuf::from(bytes), ByteBuf::from(note), ByteBuf::from(token));
        Ok(Some(LoggedToken { index, entry, note, token }))
    }
}
