//! Increments of the IMA measurement list in its text form: from which entry on, and where that is in the file.

use std::collections::VecDeque;
use std::ops::Range;

#[cfg(test)]
mod tests;

/// Where some entries of a list begin, so that an increment is found without reading the list again.
///
/// The kernel only appends to the list, so what was learnt once stays true until the next boot; a file that was
/// replaced nonetheless is noticed by the line break missing in front of the place.
#[derive(Clone, Debug, Default)]
pub struct ListIndex {
    /// Ascending by entry, each at the start of a line.
    marks: VecDeque<Mark>,
}

/// The place where an entry begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Mark {
    /// Number of the entry, from 0.
    pub entry: u64,
    /// Bytes before it.
    pub offset: u64,
}

impl Mark {
    /// From where the file is to be read for [`ListIndex::increment`]: one byte earlier, to see the line break that
    /// must be there.
    #[must_use]
    pub const fn read_from(&self) -> u64 {
        self.offset.saturating_sub(1)
    }
}

/// The part of the bytes read that answers a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Increment {
    /// The list has fewer entries than asked for, or is another than before: begin again, reading from the start and
    /// asking for entry 0.
    StartOver,
    /// Whole lines from `entry` on; none if `entry` is the number of entries.
    Text {
        /// Number of the first entry given.
        entry: u64,
        /// Where its lines are in the bytes read.
        range: Range<usize>,
    },
}

impl ListIndex {
    /// The nearest known place at or before entry `wanted`.
    #[must_use]
    pub fn nearest(&self, wanted: u64) -> Mark {
        self.marks.iter().rev().find(|mark| mark.entry <= wanted).copied().unwrap_or_default()
    }

    /// Finds entry `wanted` in `bytes`, which were read from [`Mark::read_from`] of `from` to the end of the list.
    ///
    /// A last line without its line break is still being written and not given out.
    pub fn increment(&mut self, from: Mark, bytes: &[u8], wanted: u64) -> Increment {
        let start = if from.offset == 0 {
            0
        } else if bytes.first() == Some(&b'\n') {
            1
        } else {
            self.marks.clear();
            return Increment::StartOver;
        };
        let (mut entry, mut position, mut found) = (from.entry, start, (from.entry == wanted).then_some(start));
        for (index, _) in bytes.iter().enumerate().skip(start).filter(|(_, byte)| **byte == b'\n') {
            (entry, position) = (entry + 1, index + 1);
            if entry == wanted {
                found = Some(position);
            }
        }
        // usize fits u64 on every platform there is.
        let at = |position: usize| from.offset + u64::try_from(position - start).unwrap_or(u64::MAX);
        let Some(first) = found else { return Increment::StartOver };
        self.remember(Mark { entry: wanted, offset: at(first) });
        self.remember(Mark { entry, offset: at(position) });
        Increment::Text { entry: wanted, range: first..position }
    }

    fn remember(&mut self, mark: Mark) {
        if mark.entry == 0 || self.marks.iter().any(|known| known.entry == mark.entry) {
            return;
        }
        if self.marks.len() >= MARKS_MAX {
            self.marks.pop_front();
        }
        let place = self.marks.iter().position(|known| known.entry > mark.entry).unwrap_or(self.marks.len());
        self.marks.insert(place, mark);
    }
}

/// As many as Keylime's agent keeps: one verifier needs two, an operator's second one two more.
const MARKS_MAX: usize = 32;
