//! Standard output, for data alone.

use std::{
    fmt,
    io::{self, Write},
    process,
};

/// Prints a line to standard output; see [`line()`].
macro_rules! outln {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}
pub(crate) use outln;

/// Prints a line. A reader that has gone, such as `head`, ends the command quietly.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}") {
        if error.kind() == io::ErrorKind::BrokenPipe {
            process::exit(0);
        }
        eprintln!("attestry: cannot write to standard output: {error}");
        process::exit(1);
    }
}
