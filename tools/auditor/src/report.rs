//! What an audit found: named checks with counts, and one conclusion.

use serde::Serialize;

use crate::statement::Statement;

/// Problems kept for one check; the rest is counted. A bundle of a broken log repeats itself.
const PROBLEMS_MAX: usize = 100;

/// The checks, in the order in which they are made. Source: `docs/spec/bundle.md`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The bundle has exactly the files it lists.
    Files,
    /// The checkpoint is signed by the log asked about.
    Checkpoint,
    /// Every entry is in the checkpoint's tree.
    Inclusion,
    /// Every entry and its body is well-formed.
    Entries,
    /// The entries are one agent's chain, in order and without a hole.
    Chain,
    /// Every blob is the one an entry names.
    Blobs,
    /// Every beacon is a checkpoint of this log that precedes its quote.
    Beacons,
    /// Every time-stamp the log names is on a checkpoint of this log, and unaltered.
    Timestamps,
    /// EK, AK and id are bound, and the EK certificate leads to a trusted root.
    Identity,
    /// Every quote answers the challenge its place in the chain gives.
    Nonces,
    /// Every quote is signed by the enrolled AK over the register values beside it.
    Quotes,
    /// Every verdict is about the latest quote, under the policies in force.
    Verdicts,
    /// Every verdict comes out again.
    Appraisal,
    /// Every key release follows a pass.
    Releases,
    /// The entries cover the interval asked about.
    Coverage,
}

impl CheckName {
    /// Every check, in order.
    pub const ALL: [Self; 15] = [
        Self::Files,
        Self::Checkpoint,
        Self::Inclusion,
        Self::Entries,
        Self::Chain,
        Self::Blobs,
        Self::Beacons,
        Self::Timestamps,
        Self::Identity,
        Self::Nonces,
        Self::Quotes,
        Self::Verdicts,
        Self::Appraisal,
        Self::Releases,
        Self::Coverage,
    ];

    /// The check's name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Checkpoint => "checkpoint",
            Self::Inclusion => "inclusion",
            Self::Entries => "entries",
            Self::Chain => "chain",
            Self::Blobs => "blobs",
            Self::Beacons => "beacons",
            Self::Timestamps => "timestamps",
            Self::Identity => "identity",
            Self::Nonces => "nonces",
            Self::Quotes => "quotes",
            Self::Verdicts => "verdicts",
            Self::Appraisal => "appraisal",
            Self::Releases => "releases",
            Self::Coverage => "coverage",
        }
    }

    /// What the check says when it holds, for a person.
    #[must_use]
    pub const fn claim(self) -> &'static str {
        match self {
            Self::Files => "the bundle has exactly the files it lists",
            Self::Checkpoint => "the checkpoint is signed by the log's key",
            Self::Inclusion => "each entry is in the checkpoint's tree",
            Self::Entries => "each entry and its body is well-formed",
            Self::Chain => "the entries are the agent's own, in order, without a hole",
            Self::Blobs => "each blob is the one an entry names",
            Self::Timestamps => "each time-stamp is on a checkpoint of this log, unaltered",
            Self::Beacons => "each quote's beacon is an earlier checkpoint of this log",
            Self::Identity => "EK, AK and id are bound; the EK certificate leads to a trusted root",
            Self::Nonces => "each quote answers its own challenge, or was not passed",
            Self::Quotes => "each quote is signed by the enrolled AK, or was not passed",
            Self::Verdicts => "each verdict is about the latest quote, under the policy in force",
            Self::Appraisal => "each verdict comes out again",
            Self::Releases => "each key release follows a pass",
            Self::Coverage => "the entries cover the interval asked about",
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All that was examined holds.
    True,
    /// Something is false.
    False,
    /// Nothing is false, but something could not be checked.
    Unchecked,
    /// Not begun, since an earlier check failed.
    NotRun,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// How it ended.
    pub outcome: Outcome,
    /// How many things were looked at.
    pub examined: u64,
    /// What was found, at most 100.
    pub problems: Vec<Problem>,
    /// How many more problems there were.
    pub problems_cut: u64,
}

/// One thing that is false or could not be checked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// File or entry.
    pub place: String,
    /// What was found, and what was expected.
    pub problem: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// Whether it is false; else it could not be checked.
    #[serde(skip)]
    pub(crate) is_false: bool,
}

impl Check {
    pub(crate) fn new(name: CheckName) -> Self {
        Self { name, outcome: Outcome::True, examined: 0, problems: Vec::new(), problems_cut: 0 }
    }

    fn not_run(name: CheckName) -> Self {
        Self { outcome: Outcome::NotRun, ..Self::new(name) }
    }

    pub(crate) fn examine(&mut self) {
        self.examined += 1;
    }

    pub(crate) fn is_false(&self) -> bool {
        self.outcome == Outcome::False
    }

    pub(crate) fn refute(&mut self, place: impl Into<String>, problem: impl Into<String>, remedy: &'static str) {
        self.outcome = Outcome::False;
        self.push(Problem { place: place.into(), problem: problem.into(), remedy, is_false: true });
    }

    pub(crate) fn doubt(&mut self, place: impl Into<String>, problem: impl Into<String>, remedy: &'static str) {
        if self.outcome == Outcome::True {
            self.outcome = Outcome::Unchecked;
        }
        self.push(Problem { place: place.into(), problem: problem.into(), remedy, is_false: false });
    }

    fn push(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_cut += 1;
        }
    }
}

/// What the whole audit says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// All checked and true.
    Verified,
    /// Something is false.
    False,
    /// Nothing is false, something could not be checked.
    NotFullyChecked,
}

impl Conclusion {
    /// The process's exit code. Source: `docs/spec/bundle.md`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::False => 1,
            Self::NotFullyChecked => 3,
        }
    }
}

/// What an audit found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `attestry-audit-report/1`.
    pub format: &'static str,
    /// The result in one word.
    pub conclusion: Conclusion,
    /// The agent, once the bundle's index has been read.
    pub agent: Option<String>,
    /// The log, by the name of the key that was given.
    pub log: String,
    /// Entries under the checkpoint, once it is authentic.
    pub tree_size: Option<u64>,
    /// The agent's entries in the bundle.
    pub entries: u64,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What follows for the agent; none if something is false.
    pub statement: Option<Statement>,
    /// What the bundle does not prove.
    pub not_proven: Vec<String>,
}

impl Report {
    pub(crate) fn new(log: String) -> Self {
        Self {
            format: "attestry-audit-report/1",
            conclusion: Conclusion::NotFullyChecked,
            agent: None,
            log,
            tree_size: None,
            entries: 0,
            checks: Vec::new(),
            statement: None,
            not_proven: Vec::new(),
        }
    }

    /// Adds a finished check; true if the audit may go on to checks that rest on it.
    pub(crate) fn add(&mut self, check: Check) -> bool {
        let sound = !check.is_false();
        self.checks.push(check);
        sound
    }

    /// Draws the conclusion; checks that were not reached are listed as not run.
    pub(crate) fn conclude(mut self) -> Self {
        let missing = CheckName::ALL.into_iter().filter(|name| self.checks.iter().all(|check| check.name != *name));
        let missing: Vec<Check> = missing.map(Check::not_run).collect();
        self.checks.extend(missing);
        self.checks.sort_by_key(|check| check.name);
        let any = |outcome| self.checks.iter().any(|check| check.outcome == outcome);
        self.conclusion = if any(Outcome::False) {
            self.statement = None;
            Conclusion::False
        } else if any(Outcome::Unchecked) || any(Outcome::NotRun) {
            Conclusion::NotFullyChecked
        } else {
            Conclusion::Verified
        };
        self
    }

    /// The check of that name.
    #[must_use]
    pub fn check(&self, name: CheckName) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}
