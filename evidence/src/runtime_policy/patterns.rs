//! Lists of patterns over paths, matched in time linear in the path.

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Patterns compiled together.
#[derive(Clone, Debug)]
pub(super) struct Patterns(RegexSet);

/// Where a pattern must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// At the text's start, as Keylime matches excludes.
    Start,
    /// From the text's start to its end.
    Whole,
}

/// A pattern cannot be used.
///
/// Keylime's patterns are Python's. Look-around (`(?!…)`) and back-references have no linear-time match and are
/// refused rather than dropped: a dropped exclude raises false alarms, and a broken one must not hide everything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// An empty pattern would hide every path.
    #[error("pattern {index} is empty and would match everything")]
    Empty {
        /// Which one, from 0.
        index: usize,
    },
    /// It does not compile by itself.
    #[error("pattern {index} {pattern:?} is not valid: {reason}")]
    Syntax {
        /// Which one, from 0.
        index: usize,
        /// The pattern.
        pattern: String,
        /// What the compiler says, with the place.
        reason: String,
    },
    /// Each is valid, and all of them together are too big, or one comments out what follows it.
    #[error("the {count} patterns do not compile together: {reason}")]
    Together {
        /// How many there are.
        count: usize,
        /// What the compiler says.
        reason: String,
    },
    /// There are more than the limit, or one is longer.
    #[error("{found} patterns or bytes of one pattern, at most {max} are allowed")]
    TooMany {
        /// The number found.
        found: usize,
        /// The named limit.
        max: usize,
    },
}

impl Patterns {
    pub(super) fn compile(patterns: &[String], anchor: Anchor) -> Result<Self, InvalidPattern> {
        if patterns.len() > PATTERNS_MAX {
            return Err(InvalidPattern::TooMany { found: patterns.len(), max: PATTERNS_MAX });
        }
        patterns.iter().enumerate().try_for_each(|(index, pattern)| check(index, pattern))?;
        let anchored = patterns.iter().map(|pattern| match anchor {
            Anchor::Start => format!("^(?:{pattern})"),
            Anchor::Whole => format!("^(?:{pattern})$"),
        });
        let set =
            RegexSetBuilder::new(anchored).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(MATCHING_BYTES_MAX).build();
        set.map(Self)
            .map_err(|error| InvalidPattern::Together { count: patterns.len(), reason: last_line(&error.to_string()) })
    }

    /// The first pattern that matches.
    pub(super) fn first_match(&self, text: &[u8]) -> Option<usize> {
        // Most paths fit none, and that is known much sooner than which ones fit.
        if !self.0.is_match(text) {
            return None;
        }
        self.0.matches(text).into_iter().next()
    }
}

/// Each pattern must be whole by itself: `a)|(b` would otherwise get out of its anchor.
fn check(index: usize, pattern: &str) -> Result<(), InvalidPattern> {
    if pattern.is_empty() {
        return Err(InvalidPattern::Empty { index });
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(InvalidPattern::TooMany { found: pattern.len(), max: PATTERN_BYTES_MAX });
    }
    let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern);
    parsed.map(drop).map_err(|error| InvalidPattern::Syntax {
        index,
        pattern: pattern.to_owned(),
        reason: last_line(&error.to_string()),
    })
}

/// What the compiler says at the end, behind a drawing of the pattern.
fn last_line(error: &str) -> String {
    error.lines().last().unwrap_or_default().to_owned()
}

/// Keylime's largest published exclude lists have a few dozen; generated ones a few hundred.
const PATTERNS_MAX: usize = 4096;
/// The longest path (`PATH_MAX`): a longer pattern could be several.
const PATTERN_BYTES_MAX: usize = 4096;
/// The compiled set, which every machine's appraisal shares.
const COMPILED_BYTES_MAX: usize = 16 << 20;
/// What matching may remember for the next path, each thread for itself. Where it is too little, all patterns are tried
/// at every character: 4096 patterns of the form `.*/name/.*` fit in 16 MiB and take 3 µs a path then, 3 ms without.
const MATCHING_BYTES_MAX: usize = 16 << 20;
