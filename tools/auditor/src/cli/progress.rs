//! How far a long command has come, on stderr: a bar on a terminal, else a line every ten seconds.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock;

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The clock is read once for so many steps.
const LOOK_EVERY: u64 = 1_024;

/// What is shown of a command's progress.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{bar:30} {human_pos}/{human_len} entries {msg}, {per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, told: clock::moment() }
    }

    /// So many entries of so many were `done`.
    pub(super) fn show(&mut self, done: &'static str, number: u64, of: u64) {
        if !number.is_multiple_of(LOOK_EVERY) && number != of {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_message(done);
            bar.set_length(of);
            bar.set_position(number);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = clock::moment();
            let _ = writeln!(io::stderr(), "attestry-audit: {number} of {of} entries {done}");
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
