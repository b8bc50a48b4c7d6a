//! Following a log: an own durable mirror, and an alarm for everything that an honest log does not do.

mod files;
mod following;
mod journal;
mod keeping;
mod mirror;

use std::{io, ops::ControlFlow, path::PathBuf};

use ledger_tlog::{
    checkpoint::{AuthenticCheckpoint, Checkpoint},
    key::NoteVerifier,
    policy::WitnessQuorum,
};
use messages::UnixMillis;

pub use self::journal::Alarm;
use self::{following::Step, journal::Journal, mirror::Mirror};
use crate::{
    cause,
    hashes::HashesLost,
    log::{Log, LogUnreadable},
    replay::{Findings, NotReplayed, Reader, Runs, take_up},
    verify::Question,
};

/// How far ahead of the monitor's clock a log's may be: clocks that are kept differ by less.
const AHEAD_MS: u64 = 60_000;

/// What a monitor holds a log to.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The log's key.
    pub log_key: &'a NoteVerifier,
    /// The witnesses of whom a quorum must have cosigned each checkpoint, if any.
    pub witnesses: Option<&'a WitnessQuorum>,
    /// By what quotes and verdicts are judged again; not at all if none.
    pub question: Option<&'a Question<'a>>,
    /// The oldest that the log's last entry may be, and the longest time between censuses, in milliseconds.
    pub age_ms: u64,
    /// After how long an alarm about what has not changed is raised again, in milliseconds.
    pub repeat_ms: u64,
    /// Whether a mirror may begin behind entries that were pruned, as was announced, without an alarm.
    pub allow_pruned: bool,
}

/// What a monitor is doing, for whoever waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Entries are copied from the log.
    Copied,
    /// What they name is fetched.
    Fetched,
    /// They are judged.
    Judged,
    /// Those of the mirror are read again.
    Read,
}

/// What one look has come to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// How much was found false.
    pub false_count: u64,
    /// How much could not be checked.
    pub unchecked_count: u64,
    /// Alarms that were put on record; what was found and is on record already is none.
    pub raised: u64,
}

/// Why a round was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotWatched {
    /// Another monitor has the mirror.
    #[error("another monitor is at work on the mirror {folder}", folder = folder.display())]
    Busy {
        /// The mirror.
        folder: PathBuf,
    },
    /// Hashes of the tree could not be kept.
    #[error("the hashes of the log's tree cannot be kept in a temporary file")]
    Hashes(#[from] HashesLost),
    /// A file of the mirror cannot be used.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log or the mirror cannot be read.
    #[error(transparent)]
    Log(#[from] LogUnreadable),
    /// The mirror is not what this monitor has written.
    #[error("the mirror's {what}; move it away and begin anew")]
    Mirror {
        /// What is wrong.
        what: &'static str,
    },
}

impl From<NotReplayed> for NotWatched {
    fn from(error: NotReplayed) -> Self {
        match error {
            NotReplayed::Hashes(source) => Self::Hashes(source),
            NotReplayed::Log(source) => Self::Log(source),
        }
    }
}

/// A log that is followed, and the copy that is kept of it.
#[derive(Debug)]
pub struct Monitor<'a> {
    watch: Watch<'a>,
    mirror: Mirror,
    journal: Journal,
    reader: Reader,
    runs: Runs,
    /// Whether the mirror has a checkpoint.
    published: bool,
    /// The first entry that is in a bundle: more than 0 if the mirror begins behind entries that were pruned.
    bundled_from: u64,
}

impl<'a> Monitor<'a> {
    /// Takes up the mirror in a folder, or begins one. What it holds is read again, so that nothing rests on a state
    /// that could have been lost. `progress` is told of how many entries of how many.
    ///
    /// # Errors
    /// [`NotWatched`].
    pub fn open(
        folder: PathBuf,
        watch: Watch<'a>,
        progress: &mut dyn FnMut(Phase, u64, u64),
    ) -> Result<Self, NotWatched> {
        let mirror = Mirror::open(folder)?;
        let note = mirror.checkpoint()?;
        let other_log = |_| NotWatched::Mirror { what: "checkpoint is of another log" };
        let head =
            note.map(|note| watch.opened(&note).map_err(other_log)).transpose()?.map(|opened| *opened.tree_head());
        let size = head.map_or(0, |head| head.tree_size);
        let journal = Journal::open(mirror.folder(), size, watch.repeat_ms)?;
        let (reader, runs) = (Reader::new(watch.log_key.clone()), Runs::default());
        let mut monitor = Self { watch, mirror, journal, reader, runs, published: head.is_some(), bundled_from: 0 };
        let Some(head) = head else { return Ok(monitor) };
        let own = monitor.mirror.log();
        // What was false in it was told before the mirror's checkpoint was taken over.
        let known = &mut Findings::default();
        if let Some(boundary) = own.boundary()? {
            let taken = take_up((&own, &own), watch.log_key, &boundary, size, &mut monitor.runs, known)?;
            (monitor.reader, monitor.bundled_from) = (taken.reader, boundary.minimum_index);
        }
        monitor.take(size, true, known, progress)?;
        if monitor.reader.head() != head {
            return Err(NotWatched::Mirror { what: "entries are not those of its checkpoint" });
        }
        monitor.mirror.tidy_all(size)?;
        Ok(monitor)
    }

    /// Entries in the mirror that are under a checkpoint.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.reader.head().tree_size
    }

    /// Looks at the log once, and takes over what is new and was signed. `draw`, a random number, names a bundle of old
    /// entries that is asked for again.
    ///
    /// Alarms are durable in the mirror's `alarms.jsonl` before the checkpoint that gave rise to them is taken over: a monitor
    /// that is killed in between finds the same again, and knows it.
    ///
    /// # Errors
    /// [`NotWatched`] if the mirror cannot be written; a log that does not answer is an alarm.
    pub fn look(
        &mut self,
        log: &Log,
        now: UnixMillis,
        draw: u64,
        progress: &mut dyn FnMut(Phase, u64, u64),
    ) -> Result<Seen, NotWatched> {
        let mut seen = Seen::default();
        loop {
            let mut findings = Findings::default();
            let step = self.step(log, &mut findings, progress);
            let (note, is_last) = match step {
                Ok(Step::Partway(note)) => (Some(note), false),
                Ok(Step::Whole(note)) => (Some(note), true),
                Ok(Step::Still) => (None, true),
                Err(NotWatched::Log(error)) => {
                    findings.doubt("answer", None, cause::chain(&error));
                    (None, true)
                }
                Err(error) => return Err(error),
            };
            let answered = !findings.list.iter().any(|finding| finding.check == "answer");
            if is_last {
                if answered && let Err(error) = self.look_back(log, draw, &mut findings) {
                    match error {
                        NotWatched::Log(error) => findings.doubt("answer", None, cause::chain(&error)),
                        error => return Err(error),
                    }
                }
                self.hold_to_time(now, &mut findings);
            }
            let opened = answered && !findings.list.iter().any(|finding| finding.check == "checkpoint");
            let looked_for = |check: &str| check != "witnesses" || opened;
            let looked_for: &dyn Fn(&str) -> bool = &looked_for;
            seen.raised += self.journal.record(&findings.list, now, is_last.then_some(looked_for))?;
            seen.false_count += findings.false_count;
            seen.unchecked_count += findings.unchecked_count;
            if let Some(note) = note {
                self.publish(&note)?;
            }
            if is_last {
                return Ok(seen);
            }
        }
    }

    /// The first alarm that the operator was not told of.
    #[must_use]
    pub fn untold(&self) -> Option<&Alarm> {
        self.journal.untold()
    }

    /// Notes, durably, that the operator was told of the first alarm that he was not. Telling is at least once: a monitor
    /// that is killed before this tells it again, under the same number.
    ///
    /// # Errors
    /// [`NotWatched`] if the mirror cannot be written.
    pub fn told(&mut self) -> Result<(), NotWatched> {
        self.journal.told()
    }

    fn publish(&mut self, note: &[u8]) -> Result<(), NotWatched> {
        let size = self.size();
        let before = self.mirror.checkpoint()?.and_then(|note| self.watch.opened(&note).ok());
        let before = before.map_or(self.bundled_from, |opened| opened.tree_head().tree_size);
        self.mirror.publish(note, before, size)?;
        self.published = true;
        self.journal.published();
        Ok(())
    }

    /// Takes what the mirror holds beyond what was read; what is `known` was judged before.
    fn take(
        &mut self,
        size: u64,
        known: bool,
        findings: &mut Findings,
        progress: &mut dyn FnMut(Phase, u64, u64),
    ) -> Result<(), NotWatched> {
        let copy = &self.mirror.log();
        let from = self.reader.head().tree_size;
        let (mut taken, mut censused) = (Ok(()), self.reader.recorded().1);
        let age_ms = self.watch.age_ms;
        let phase = if known { Phase::Read } else { Phase::Judged };
        let Self { watch, reader, runs, .. } = self;
        copy.read(from, size, |index, bytes| {
            taken = reader.take(copy, index, bytes, findings).map_err(NotWatched::Hashes);
            if let Some(question) = watch.question {
                runs.take(copy, index, bytes, question, known, findings);
            }
            let census = reader.recorded().1;
            if let (Some(before), Some(now)) = (censused, census)
                && now.0.saturating_sub(before.0) > age_ms
            {
                let text = format!(
                    "{} ms went by between two censuses; at most {age_ms} are allowed",
                    now.0.saturating_sub(before.0)
                );
                findings.refute("epoch", index, text);
            }
            censused = census;
            progress(phase, index + 1 - from, size - from);
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        taken?;
        if let Some(question) = self.watch.question {
            self.runs.finish(copy, question, known, findings);
        }
        Ok(())
    }

    /// The log goes on: a checkpoint and a census within the time allowed, and no clock from the future.
    fn hold_to_time(&self, now: UnixMillis, findings: &mut Findings) {
        let (last, census) = self.reader.recorded();
        let age = |then: UnixMillis| now.0.saturating_sub(then.0);
        if self.size() == 0 {
            return;
        }
        if age(last) > self.watch.age_ms {
            let text = format!(
                "the newest entry under a checkpoint is {} ms old; at most {} are allowed",
                age(last),
                self.watch.age_ms
            );
            findings.refute("late", None, text);
        }
        if last.0 > now.0.saturating_add(AHEAD_MS) {
            findings.refute("clock", None, format!("the log's clock is {} ms ahead", last.0.saturating_sub(now.0)));
        }
        match census {
            Some(census) if age(census) <= self.watch.age_ms => {}
            Some(census) => {
                findings.refute(
                    "epoch",
                    None,
                    format!("the last census is {} ms old; at most {} are allowed", age(census), self.watch.age_ms),
                );
            }
            None => findings.doubt("epoch", None, "the log has no census".to_owned()),
        }
    }
}

impl Watch<'_> {
    fn opened(&self, note: &[u8]) -> Result<AuthenticCheckpoint, String> {
        let witnesses: Vec<NoteVerifier> =
            self.witnesses.map(|quorum| quorum.witnesses().cloned().collect()).unwrap_or_default();
        let log_key = self.log_key;
        Checkpoint::open(note, log_key.name().as_str(), log_key, &witnesses).map_err(|error| cause::chain(&error))
    }
}

#[cfg(test)]
mod tests;
