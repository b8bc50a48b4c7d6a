//! One step of a monitor: what the log shows, beside what the mirror has.

use std::ops::ControlFlow;

use ledger_tlog::{frontier::Frontier, hash::leaf_hash, tree::TreeHead};

use super::{
    Monitor, NotWatched, Phase,
    files::remove,
    keeping::{Keeping, keep_named},
    mirror::WIDTH,
};
use crate::{
    log::{Boundary, Log, LogUnreadable, kept_file},
    replay::{Findings, Reader, Runs, TakenUp, take_up},
};

/// What a step has come to.
pub(super) enum Step {
    /// Nothing is to be taken over.
    Still,
    /// All under this checkpoint was judged, and the log has shown a later one.
    Partway(Vec<u8>),
    /// All under this checkpoint, the latest, was judged.
    Whole(Vec<u8>),
}

/// Entries after which a monitor that is far behind takes a checkpoint over: a kill costs it no more than these.
const STEP_ENTRIES: u64 = 65_536;

impl Monitor<'_> {
    /// Compares the log's checkpoint with the mirror's, and judges what is new as far as it was signed.
    ///
    /// Copied and fetched first, judged then: the log is not asked for anything any more once a state has changed.
    pub(super) fn step(
        &mut self,
        log: &Log,
        findings: &mut Findings,
        progress: &mut dyn FnMut(Phase, u64, u64),
    ) -> Result<Step, NotWatched> {
        let note = log.checkpoint()?;
        let opened = match self.watch.opened(&note) {
            Ok(opened) => opened,
            Err(text) => {
                findings.refute("checkpoint", None, text);
                return Ok(Step::Still);
            }
        };
        if !self.published {
            self.forget()?;
        }
        let (newest, own) = (*opened.tree_head(), self.reader.head());
        if let Some(quorum) = self.watch.witnesses
            && quorum.check(&opened).is_err()
        {
            let text = format!("the checkpoint of {} entries has no quorum of your witnesses", newest.tree_size);
            findings.doubt("witnesses", None, text);
        }
        if newest.tree_size < own.tree_size {
            self.mirror.evidence("rollback", &note)?;
            let (shown, signed) = (newest.tree_size, own.tree_size);
            let text = format!("the log shows a checkpoint of {shown} entries; it has signed one of {signed}");
            findings.refute("rollback", None, text);
            return Ok(Step::Still);
        }
        if newest.tree_size == own.tree_size {
            if newest.root != own.root {
                self.mirror.evidence("fork", &note)?;
                let text = format!(
                    "the log has signed the roots {} and {} for {} entries",
                    own.root, newest.root, newest.tree_size
                );
                findings.refute("fork", None, text);
            }
            return Ok(Step::Still);
        }
        if !self.published && !self.begin(log, &newest, findings)? {
            return Ok(Step::Still);
        }
        let (target, text) = self.target(log, newest, note)?;
        if !self.gather(log, &target, &text, findings, progress)? {
            return Ok(Step::Still);
        }
        let from = self.reader.head().tree_size;
        let of = target.tree_size - from;
        keep_named(&self.mirror, log, (from, target.tree_size), |done| progress(Phase::Fetched, done, of))?;
        self.take(target.tree_size, false, findings, progress)?;
        Ok(if target == newest { Step::Whole(text) } else { Step::Partway(text) })
    }

    /// The checkpoint up to which this step goes: one that the log has kept, if the latest is far ahead.
    fn target(&self, log: &Log, newest: TreeHead, note: Vec<u8>) -> Result<(TreeHead, Vec<u8>), NotWatched> {
        let enough = self.reader.head().tree_size.saturating_add(STEP_ENTRIES);
        if enough < newest.tree_size
            && let Some(size) = log.kept_size(enough, newest.tree_size)?
            && let Some(kept) = log.note(size)?
            && let Ok(opened) = self.watch.opened(&kept)
            && opened.tree_head().tree_size == size
        {
            return Ok((*opened.tree_head(), kept));
        }
        Ok((newest, note))
    }

    /// Copies the entries up to a signed tree; whether they are those that were signed.
    fn gather(
        &mut self,
        log: &Log,
        target: &TreeHead,
        note: &[u8],
        findings: &mut Findings,
        progress: &mut dyn FnMut(Phase, u64, u64),
    ) -> Result<bool, NotWatched> {
        let (mut found, left_over) = self.copy(log, target, true, progress)?;
        if found != *target && left_over {
            // What another attempt has left need not be what the log serves now.
            found = self.copy(log, target, false, progress)?.0;
        }
        if found == *target {
            return Ok(true);
        }
        let own = self.reader.head();
        let (size, behind) = (target.tree_size, own.tree_size);
        if behind == 0 || log.extends(&own, target)? {
            self.mirror.evidence("root", note)?;
            let text = format!(
                "the log has signed the root {} of {size} entries; those that it serves give {}",
                target.root, found.root
            );
            findings.refute("root", None, text);
        } else {
            self.mirror.evidence("fork", note)?;
            let text = format!(
                "the log has signed the root {} of {size} entries; what it serves, behind the {behind} entries mirrored, gives {}",
                target.root, found.root
            );
            findings.refute("fork", None, text);
        }
        Ok(false)
    }

    /// Copies the entries behind the mirror's own; the tree that they give, and whether some were there already.
    fn copy(
        &self,
        log: &Log,
        target: &TreeHead,
        reuse: bool,
        progress: &mut dyn FnMut(Phase, u64, u64),
    ) -> Result<(TreeHead, bool), NotWatched> {
        let (mut frontier, size) = (self.reader.frontier(), target.tree_size);
        let from = frontier.tree_size();
        let begin = from.max(self.bundled_from);
        let own = self.mirror.log();
        own.read(from, begin, |_, bytes| {
            frontier.append(leaf_hash(bytes), |_, _, _| {});
            ControlFlow::Continue(())
        })?;
        let mut copy = self.mirror.copy(begin)?;
        let mut reused = false;
        while reuse && let Some(entries) = copy.left_over(&own, size) {
            entries.iter().for_each(|bytes| frontier.append(leaf_hash(bytes), |_, _, _| {}));
            reused = true;
        }
        let mut copied = Ok(());
        log.read(copy.next(), size, |index, bytes| {
            frontier.append(leaf_hash(bytes), |_, _, _| {});
            copied = copy.append(bytes);
            progress(Phase::Copied, index + 1 - from, size - from);
            if copied.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        copied?;
        copy.finish()?;
        Ok((frontier.tree_head(), reused))
    }

    /// Begins a mirror; of a log whose older entries were pruned with the first that is there.
    fn begin(&mut self, log: &Log, newest: &TreeHead, findings: &mut Findings) -> Result<bool, NotWatched> {
        let Some(boundary) = log.boundary()? else { return Ok(true) };
        let (first, minimum) = (boundary.first, boundary.minimum_index);
        if newest.tree_size < minimum {
            let what = format!("the first whole bundle behind the pruned entries, up to entry {minimum}");
            return Err(NotWatched::Log(LogUnreadable::Missing { what }));
        }
        let mut leaves = Vec::new();
        let mut frontier = Frontier::new();
        let (mut kept, mut number) = (Ok(()), 0);
        log.leaves(first, newest.tree_size, |leaf| {
            frontier.append(leaf, |_, _, _| {});
            leaves.push(leaf);
            if leaves.len() as u64 == WIDTH && kept.is_ok() {
                kept = self.mirror.keep_leaves(&leaves, number);
                leaves.clear();
                number += 1;
            }
        })?;
        kept?;
        if !leaves.is_empty() {
            self.mirror.keep_leaves(&leaves, number)?;
        }
        let pruned = frontier.tree_head();
        if !log.extends(&pruned, newest)? {
            let text = format!(
                "the hashes of the {first} pruned entries are not those under the checkpoint of {} entries",
                newest.tree_size
            );
            findings.refute("root", None, text);
            return Ok(false);
        }
        self.keep_boundary(log, &boundary)?;
        let own = self.mirror.log();
        let TakenUp { reader, .. } =
            take_up((&own, log), self.watch.log_key, &boundary, newest.tree_size, &mut self.runs, findings)?;
        self.reader = reader;
        self.bundled_from = minimum;
        if !self.watch.allow_pruned {
            let text = format!(
                "entries below {first} were pruned before this mirror began, as entry {} of the log says; what they were \
                 is known by their hashes, by small entries that were kept and through later censuses",
                boundary.policy_index
            );
            findings.doubt("pruned", first, text);
        }
        Ok(true)
    }

    /// Relies on nothing that an attempt before this one has left: no checkpoint says that it is whole.
    fn forget(&mut self) -> Result<(), NotWatched> {
        (self.reader, self.runs) = (Reader::new(self.watch.log_key.clone()), Runs::default());
        self.bundled_from = 0;
        remove(&self.mirror.folder().join("pruned"))
    }

    /// What is known of the pruned entries, as an exported folder has it.
    fn keep_boundary(&self, log: &Log, boundary: &Boundary) -> Result<(), NotWatched> {
        let mut kept = log.kept(boundary)?;
        let mut keeping = Keeping::new(&self.mirror, log);
        for (index, bytes) in &kept {
            keeping.keep_of(*index, bytes)?;
        }
        log.read(boundary.first, boundary.minimum_index, |index, bytes| {
            kept.push((index, bytes.to_vec()));
            ControlFlow::Continue(())
        })?;
        self.mirror.keep("pruned/kept", &kept_file(&kept))?;
        let (state, histories) = log.boundary_files()?;
        if let Some(histories) = histories {
            self.mirror.keep("pruned/histories", &histories)?;
        }
        self.mirror.keep("pruned/boundary", &state)
    }

    /// Asks again for a bundle that the log has served before, and for its leaves: what is under a checkpoint never
    /// changes.
    pub(super) fn look_back(&mut self, log: &Log, draw: u64, findings: &mut Findings) -> Result<(), NotWatched> {
        let (size, first) = (self.reader.head().tree_size, self.bundled_from / WIDTH);
        let Some(number) = draw.checked_rem((size / WIDTH).saturating_sub(first)).map(|part| first + part) else {
            return Ok(());
        };
        let index = number * WIDTH;
        let Some(own) = self.mirror.log().whole_bundle(number) else {
            return Err(NotWatched::Mirror { what: "entries are not those of its checkpoint" });
        };
        let mut served = Vec::new();
        let read = log.read(index, index + WIDTH, |_, bytes| {
            served.push(bytes.to_vec());
            ControlFlow::Continue(())
        });
        match read {
            Ok(()) if served == own => {}
            Ok(()) => {
                self.mirror.evidence(&format!("changed-{index}"), &kept_file(&numbered(index, served)))?;
                let text = format!("the log serves other entries from {index} on than it has signed and served before");
                findings.refute("changed", index, text);
            }
            Err(LogUnreadable::Missing { .. } | LogUnreadable::Pruned { .. }) if index < self.reader.pruned_below() => {
            }
            Err(error @ (LogUnreadable::Missing { .. } | LogUnreadable::Pruned { .. })) => {
                let text = format!("{error}: the log has served it before, and no entry says that it was pruned");
                findings.doubt("withheld", index, text);
            }
            Err(error) => return Err(error.into()),
        }
        let leaves: Vec<_> = own.iter().map(|bytes| leaf_hash(bytes)).collect();
        match log.hash_tile(0, number, size) {
            Ok(tile) if tile == leaves => {}
            Ok(_) => {
                let text = format!("the log serves other leaf hashes from {index} on than those of the entries");
                findings.refute("changed", index, text);
            }
            // Copies of a log need not have tiles of hashes.
            Err(LogUnreadable::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn numbered(index: u64, entries: Vec<Vec<u8>>) -> Vec<(u64, Vec<u8>)> {
    (index..).zip(entries).collect()
}
