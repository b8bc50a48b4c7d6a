//! Regular expressions that match a whole text in time linear in it.

use regex::{Regex, RegexBuilder};

use super::malformed::MalformedPolicy;

/// An anchored pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles `pattern`, first alone, so that no parenthesis in it can undo the anchors.
    pub(super) fn new(pattern: &str, place: &str) -> Result<Self, MalformedPolicy> {
        let failed = |source| MalformedPolicy::Pattern { place: place.to_owned(), source: Box::new(source) };
        build(pattern).map_err(failed)?;
        build(&format!(r"\A(?:{pattern})\z")).map(Self).map_err(failed)
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build()
}

/// A compiled pattern's size: a list of a thousand command lines of a kilobyte each.
const PATTERN_BYTES_MAX: usize = 4 << 20;
