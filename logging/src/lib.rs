//! How a process of ours writes its own log: text or JSON on standard error, colours on a terminal alone.
//!
//! Not in here: what is logged, and the ledger, which is no such log.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object in each line.
    Json,
    /// For a person.
    Text,
}

/// Begins to log to standard error what `RUST_LOG` chooses, `info` and above if it is not set.
///
/// # Panics
/// If the process logs already.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    match format {
        LogFormat::Json => logs.json().init(),
        LogFormat::Text => logs.init(),
    }
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Logs why `what` ends, such as "the ledger"; the exit code for it is 1.
#[must_use]
pub fn failed(what: &str, error: &dyn Error) -> ExitCode {
    tracing::error!(reason = chain(error), "{what} ends");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[test]
    fn causes_stand_behind_their_effects() {
        let inner = std::io::Error::other("the disk is full");
        let outer = std::io::Error::other(Outer(inner));
        assert_eq!(chain(&outer), "not written: the disk is full");
    }

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("not written")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
}
