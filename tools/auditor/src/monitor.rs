//! Following a log: an own durable mirror, and an alarm for everything that an honest log does not do.

mod mirror;

use std::{io, ops::ControlFlow, path::PathBuf};

use ledger_tlog::{
    checkpoint::{AuthenticCheckpoint, Checkpoint},
    hash::leaf_hash,
    key::NoteVerifier,
    policy::WitnessQuorum,
};
use messages::UnixMillis;
use serde::Serialize;

use self::mirror::Mirror;
use crate::{
    cause,
    hashes::HashesLost,
    log::{Log, LogUnreadable},
    replay::{Finding, Findings, Reader, Runs},
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
}

/// Something an honest log does not do, or a monitor cannot check. One line of JSON each.
#[derive(Clone, Debug, Serialize)]
pub struct Alarm {
    /// When it was raised, by the monitor's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was found: `docs/auditing.md` lists the names of checks.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Why a round was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotWatched {
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

/// A log that is followed, and the copy that is kept of it.
#[derive(Debug)]
pub struct Monitor<'a> {
    watch: Watch<'a>,
    mirror: Mirror,
    reader: Reader,
    runs: Runs,
}

impl<'a> Monitor<'a> {
    /// Takes up the mirror in a folder, or begins one. What it holds is read again, so that nothing rests on a state
    /// that could have been lost.
    ///
    /// # Errors
    /// [`NotWatched`].
    pub fn open(folder: PathBuf, watch: Watch<'a>) -> Result<Self, NotWatched> {
        let mirror = Mirror::open(folder)?;
        let mut monitor = Self { watch, mirror, reader: Reader::new(watch.log_key.clone()), runs: Runs::default() };
        if let Some(note) = monitor.mirror.checkpoint()? {
            let opened =
                monitor.opened(&note).map_err(|_| NotWatched::Mirror { what: "checkpoint is of another log" })?;
            let head = *opened.tree_head();
            // What was false in it was told before its checkpoint was taken.
            monitor.take(None, head.tree_size, true, &mut Findings::default())?;
            if monitor.reader.head() != head {
                return Err(NotWatched::Mirror { what: "entries are not those of its checkpoint" });
            }
        }
        Ok(monitor)
    }

    /// Entries in the mirror that are under a checkpoint.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.reader.head().tree_size
    }

    /// Looks at the log once, and takes over what is new and was signed.
    ///
    /// Alarms are durable in the mirror's `alarms.jsonl` before the checkpoint that gave rise to them is taken over: a monitor
    /// that is killed in between raises them again.
    ///
    /// # Errors
    /// [`NotWatched`] if the mirror cannot be written; a log that does not answer is an alarm.
    pub fn look(&mut self, log: &Log, now: UnixMillis) -> Result<Vec<Alarm>, NotWatched> {
        let mut findings = Findings::default();
        let taken = match self.follow(log, &mut findings) {
            Ok(taken) => taken,
            Err(NotWatched::Log(error)) => {
                findings.doubt("answer", None, cause::chain(&error));
                None
            }
            Err(error) => return Err(error),
        };
        self.hold_to_time(now, &mut findings);
        let alarms: Vec<Alarm> = findings.list.into_iter().map(|finding| Alarm { at_ms: now.0, finding }).collect();
        self.mirror.record(&alarms)?;
        if let Some(note) = taken {
            self.mirror.publish(&note)?;
        }
        Ok(alarms)
    }

    /// Compares the log's checkpoint with the mirror's; returns it if all that it covers was taken over.
    fn follow(&mut self, log: &Log, findings: &mut Findings) -> Result<Option<Vec<u8>>, NotWatched> {
        let note = log.checkpoint()?;
        let opened = match self.opened(&note) {
            Ok(opened) => opened,
            Err(text) => {
                findings.refute("checkpoint", None, text);
                return Ok(None);
            }
        };
        let (head, own) = (*opened.tree_head(), self.reader.head());
        let keep = |name: &str| self.mirror.evidence(name, &note);
        if let Some(quorum) = self.watch.witnesses
            && quorum.check(&opened).is_err()
        {
            findings.doubt(
                "witnesses",
                None,
                format!("the checkpoint of {} entries has no quorum of your witnesses", head.tree_size),
            );
        }
        if head.tree_size < own.tree_size {
            keep("rollback")?;
            let text = format!(
                "the log shows a checkpoint of {} entries; it has signed one of {}",
                head.tree_size, own.tree_size
            );
            findings.refute("rollback", None, text);
            return Ok(None);
        }
        if head.tree_size == own.tree_size {
            if head.root != own.root {
                keep("fork")?;
                findings.refute("fork", None, format!("the log has signed two roots for {} entries", head.tree_size));
            }
            return Ok(None);
        }
        let mut frontier = self.reader.frontier();
        let mut copied = Ok(());
        let mut copy = self.mirror.copy(own.tree_size)?;
        log.read(own.tree_size, head.tree_size, |_, bytes| {
            frontier.append(leaf_hash(bytes), |_, _, _| {});
            copied = copy.append(bytes);
            if copied.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        copied?;
        copy.finish()?;
        if frontier.tree_head() != head {
            keep("fork")?;
            let text = format!(
                "the log has signed the root {} of {} entries; what it serves, behind the {} entries mirrored, gives {}",
                head.root,
                head.tree_size,
                own.tree_size,
                frontier.tree_head().root
            );
            findings.refute("fork", None, text);
            return Ok(None);
        }
        self.take(Some(log), head.tree_size, false, findings)?;
        Ok(Some(note))
    }

    /// Takes what the mirror holds beyond what was read; what is `known` was judged before.
    fn take(
        &mut self,
        source: Option<&Log>,
        size: u64,
        known: bool,
        findings: &mut Findings,
    ) -> Result<(), NotWatched> {
        let copy = &self.mirror.log();
        let from = self.reader.head().tree_size;
        let (mut taken, mut censused) = (Ok(()), self.reader.recorded().1);
        let age_ms = self.watch.age_ms;
        let Self { watch, mirror, reader, runs } = self;
        copy.read(from, size, |index, bytes| {
            // What an entry names is kept before the entry is judged by it.
            if let Some(log) = source {
                taken = mirror.keep_named(log, bytes);
            }
            if taken.is_ok() {
                taken = reader.take(copy, index, bytes, findings).map_err(NotWatched::Hashes);
            }
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

    fn opened(&self, note: &[u8]) -> Result<AuthenticCheckpoint, String> {
        let witnesses: Vec<NoteVerifier> =
            self.watch.witnesses.map(|quorum| quorum.witnesses().cloned().collect()).unwrap_or_default();
        let log_key = self.watch.log_key;
        Checkpoint::open(note, log_key.name().as_str(), log_key, &witnesses).map_err(|error| cause::chain(&error))
    }
}
