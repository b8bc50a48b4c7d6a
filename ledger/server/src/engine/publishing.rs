//! Third in line: tree, indexes, answers.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};

use ledger_protocol::{Entry, Outcome};
use messages::ledger::{AppendAnswer, Group, GroupResult, Head, Receipt};

use super::indexing::{Ends, write_index};
use super::sequencing::{Pending, PendingAnswer, Reply, Sealed};
use super::writing::Written;
use super::{AppendFailed, Shared, chain};
use crate::levels::LevelWriter;
use crate::segment::{Extent, Location, ReadError};
use crate::store::{Run, Update};

/// The publishing thread.
pub(super) struct Publishing {
    /// Numbers of the remembered answers.
    answers: Range<u64>,
    ends: Ends,
    /// Where to say that the index has much to write.
    index: SyncSender<()>,
    levels: LevelWriter,
    shared: Arc<Shared>,
}

impl Publishing {
    pub(super) fn new(
        shared: Arc<Shared>,
        levels: LevelWriter,
        answers: Range<u64>,
        ends: Ends,
        index: SyncSender<()>,
    ) -> Self {
        Self { answers, ends, index, levels, shared }
    }

    pub(super) fn run(mut self, written: &Receiver<Written>) {
        while let Ok((mut sealed, extent)) = written.recv() {
            let replies = std::mem::take(&mut sealed.replies);
            if let Some(extent) = extent
                && let Err(reason) = self.publish(sealed, extent)
            {
                self.shared.fail(reason);
                break;
            }
            for Pending { answer, reply } in replies {
                // A caller that has gone away asks again with its key.
                let _ = reply.send(self.answer(answer));
            }
        }
        self.shared.make_progress(|progress| progress.stopping = true);
    }

    fn publish(&mut self, sealed: Sealed, extent: Extent) -> Result<(), String> {
        for leaf in &sealed.leaves {
            self.levels.append(*leaf);
        }
        self.levels.flush().map_err(|error| format!("hashes cannot be written: {error}"))?;
        let size = sealed.totals.size;
        self.index(sealed, extent);
        match self.shared.index.pressure() {
            (_, true) => write_index(&self.shared).map_err(|error| chain(&error))?,
            // When it was told already, that is enough.
            (true, false) => drop(self.index.try_send(())),
            (false, false) => {}
        }
        self.shared.durable_size.store(size, Ordering::Release);
        self.shared.metrics.grown();
        let head = self.levels.tree_head();
        self.shared.make_progress(|progress| progress.head = head);
        Ok(())
    }

    fn index(&mut self, sealed: Sealed, extent: Extent) {
        let mut update = Update::default();
        let at = |offset| Location { offset: extent.start.offset + offset, ..extent.start };
        for place in &sealed.groups {
            if begins_run(place.previous_index, place.index, extent.start.segment) {
                let location = at(place.offset);
                update.run(place.agent.as_ref(), Run { seq: place.seq, index: place.index, location });
            }
        }
        for mark in sealed.batch.marks() {
            update.add_mark(mark.index, at(mark.offset));
        }
        self.ends.note(extent, sealed.batch.first(), &mut update);
        for (agent, chain) in sealed.chains {
            update.chain(agent, chain);
        }
        for answer in sealed.remembered {
            update.answer(self.answers.end, answer);
            self.answers.end += 1;
        }
        for _ in 0..sealed.forgotten {
            update.forget_answer(self.answers.start);
            self.answers.start += 1;
        }
        update.set_totals(sealed.totals);
        self.shared.index.stage(update);
    }

    fn answer(&self, pending: PendingAnswer) -> Reply {
        match pending {
            PendingAnswer::Known(reply) => reply,
            PendingAnswer::Repeated(groups) => {
                let results = groups.into_iter().map(|(group, outcome)| self.again(&group, outcome));
                Ok(AppendAnswer { version: 1, results: results.collect::<Result<_, _>>()? })
            }
        }
    }

    /// The result that was given before, its receipts read from the log.
    fn again(&self, group: &Group, outcome: Outcome) -> Result<GroupResult, AppendFailed> {
        match outcome {
            Outcome::Appended { first, count } => self.receipts(group, first, count).map(GroupResult::Appended),
            Outcome::Conflict(head) => Ok(GroupResult::Conflict(head)),
            Outcome::Refused(reason) => Ok(GroupResult::Refused(reason)),
        }
    }

    /// The receipts of the entries from `first` on, which must be what `group` asks for.
    fn receipts(&self, group: &Group, first: u64, count: u64) -> Result<Vec<Receipt>, AppendFailed> {
        if group.items.len() as u64 != count {
            return Err(AppendFailed::KeyReused);
        }
        let mut items = group.items.iter();
        let mut receipts: Vec<Receipt> = Vec::new();
        let mut is_same = true;
        let read = self.shared.segments.read(first, |index, bytes| {
            let (Some(item), Ok(entry)) = (items.next(), Entry::decode(bytes)) else {
                return ControlFlow::Break(());
            };
            let head = Head { seq: entry.seq, prev: entry.prev };
            let continues = index != first || group.expected.is_none_or(|expected| expected == head);
            is_same &= continues && entry.agent == group.agent && entry.is_made_of(item);
            let Entry { seq, recorded, .. } = entry;
            receipts.push(Receipt { index, seq, recorded, leaf_hash: Entry::leaf_hash(bytes) });
            if items.len() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match read {
            Ok(()) if !is_same => Err(AppendFailed::KeyReused),
            Ok(()) if receipts.len() as u64 == count => Ok(receipts),
            Ok(()) => Err(AppendFailed::Failed { reason: format!("entries from {first} on cannot be read again") }),
            Err(ReadError::Missing { .. }) => Err(AppendFailed::Pruned { first }),
            Err(error) => Err(AppendFailed::Failed { reason: chain(&error) }),
        }
    }
}

/// Whether the entry `index` of a chain does not just follow the chain's entry before it, in the
/// segment that begins with `segment`.
pub(super) fn begins_run(previous_index: Option<u64>, index: u64, segment: u64) -> bool {
    index == segment || previous_index.map(|previous| previous + 1) != Some(index)
}
