//! The alarms on record: each once, in the order raised, and which of them the operator has been told of.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

use messages::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{
    NotWatched,
    files::{append, failed, replace},
};
use crate::replay::Finding;

/// Something an honest log does not do, or a monitor cannot check. One line of JSON each.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alarm {
    /// Its number in the mirror's record, from 0 without gaps: a receiver who has seen it knows it again.
    pub number: u64,
    /// When it was raised, by the monitor's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was found: `docs/auditing.md` lists the names of checks.
    pub check: String,
    /// The entry it is about.
    pub index: Option<u64>,
    /// What was found, for a person.
    pub text: String,
    /// Whether something is false; else it could not be checked.
    #[serde(rename = "false")]
    pub is_false: bool,
    /// Whether it says that a condition told before has ended.
    pub over: bool,
}

/// What is found again by a later look is known by this: its check, and its text unless that tells how long it has lasted.
type Standing = (String, Option<String>);

/// The record in a mirror.
#[derive(Debug)]
pub(super) struct Journal {
    lines: PathBuf,
    told: PathBuf,
    next: u64,
    repeat_ms: u64,
    /// What is found at every look, and when it was raised.
    standing: BTreeMap<Standing, u64>,
    /// What is on record about entries that no checkpoint of the mirror covers: a monitor that was killed finds it again.
    about: HashSet<(String, u64, String)>,
    untold: VecDeque<Alarm>,
}

/// Conditions, which end: their texts tell how long they have lasted, or by what they showed themselves.
const CONDITIONS: [&str; 5] = ["answer", "clock", "epoch", "late", "witnesses"];
/// Facts about entries that a later look may come upon again.
const FACTS: [&str; 2] = ["changed", "withheld"];
const LINES: &str = "alarms.jsonl";
const TOLD: &str = "told";

impl Journal {
    /// Takes up the record of a mirror whose checkpoint covers `size` entries. A line that a kill has cut off was never
    /// acted upon, and is cut away.
    pub(super) fn open(folder: &Path, size: u64, repeat_ms: u64) -> Result<Self, NotWatched> {
        let (lines, told) = (folder.join(LINES), folder.join(TOLD));
        let mut bytes = read(&lines)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            bytes.truncate(whole);
            replace(&lines, &bytes)?;
        }
        let told_text = read(&told)?;
        let damaged = |_| NotWatched::Mirror { what: "record of alarms is damaged" };
        // The number of the first that was not told.
        let first_untold = match told_text.as_slice() {
            [] => 0,
            digits => std::str::from_utf8(digits)
                .unwrap_or_default()
                .trim()
                .parse::<u64>()
                .map_err(|_| NotWatched::Mirror { what: "note of the alarms that were told is damaged" })?,
        };
        let mut journal = Self {
            lines,
            told,
            next: 0,
            repeat_ms,
            standing: BTreeMap::new(),
            about: HashSet::new(),
            untold: VecDeque::new(),
        };
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let alarm: Alarm = serde_json::from_slice(line).map_err(damaged)?;
            journal.next = alarm.number + 1;
            match about(&alarm.check, alarm.index) {
                Some(index) if index >= size => {
                    journal.about.insert((alarm.check.clone(), index, alarm.text.clone()));
                }
                Some(_) => {}
                None if alarm.over => drop(journal.standing.remove(&standing(&alarm.check, &alarm.text))),
                None => drop(journal.standing.insert(standing(&alarm.check, &alarm.text), alarm.at_ms)),
            }
            if alarm.number >= first_untold {
                journal.untold.push_back(alarm);
            }
        }
        Ok(journal)
    }

    /// Puts on record what was found and is not, durably. With `looked_for`, which says whether a check could be made, also
    /// which conditions have ended.
    pub(super) fn record(
        &mut self,
        found: &[Finding],
        now: UnixMillis,
        looked_for: Option<&dyn Fn(&str) -> bool>,
    ) -> Result<u64, NotWatched> {
        let mut fresh = Vec::new();
        let mut seen = HashSet::new();
        for Finding { check, index, text, is_false } in found {
            let is_new = match about(check, *index) {
                Some(index) => self.about.insert(((*check).to_owned(), index, text.clone())),
                None => {
                    let key = standing(check, text);
                    seen.insert(key.clone());
                    let raised = self.standing.get(&key).copied();
                    let is_new = raised.is_none_or(|at_ms| now.0.saturating_sub(at_ms) >= self.repeat_ms);
                    if is_new {
                        self.standing.insert(key, now.0);
                    }
                    is_new
                }
            };
            if is_new {
                fresh.push(((*check).to_owned(), *index, text.clone(), *is_false, false));
            }
        }
        if let Some(looked_for) = looked_for {
            let ended = |key: &&Standing| key.1.is_none() && looked_for(&key.0) && !seen.contains(*key);
            let ended: Vec<Standing> = self.standing.keys().filter(ended).cloned().collect();
            for key in ended {
                self.standing.remove(&key);
                fresh.push((key.0, None, "it is over".to_owned(), false, true));
            }
        }
        if fresh.is_empty() {
            return Ok(0);
        }
        let mut lines = Vec::new();
        for (number, (check, index, text, is_false, over)) in (self.next..).zip(fresh) {
            let alarm = Alarm { number, at_ms: now.0, check, index, text, is_false, over };
            serde_json::to_writer(&mut lines, &alarm)
                .map_err(io::Error::other)
                .map_err(failed("write", &self.lines))?;
            lines.push(b'\n');
            self.untold.push_back(alarm);
        }
        append(&self.lines, &lines)?;
        let raised = self.untold.back().map_or(self.next, |last| last.number + 1) - self.next;
        self.next += raised;
        Ok(raised)
    }

    /// The mirror has a checkpoint over all that was judged: none of it is found again.
    pub(super) fn published(&mut self) {
        self.about.clear();
    }

    /// The first alarm that the operator was not told of.
    pub(super) fn untold(&self) -> Option<&Alarm> {
        self.untold.front()
    }

    /// The operator was told of the first that was not.
    pub(super) fn told(&mut self) -> Result<(), NotWatched> {
        let Some(alarm) = self.untold.front() else { return Ok(()) };
        replace(&self.told, (alarm.number + 1).to_string().as_bytes())?;
        self.untold.pop_front();
        Ok(())
    }
}

/// The entry that a finding is about, if it is found once, when the entry is judged.
fn about(check: &str, index: Option<u64>) -> Option<u64> {
    index.filter(|_| !FACTS.contains(&check))
}

fn standing(check: &str, text: &str) -> Standing {
    let is_condition = CONDITIONS.contains(&check);
    (check.to_owned(), (!is_condition).then(|| text.to_owned()))
}

/// A file, empty if it is not there.
fn read(path: &Path) -> Result<Vec<u8>, NotWatched> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(failed("read", path)(source)),
    }
}
