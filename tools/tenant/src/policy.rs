//! `attestry policy …`: policies made, compared, signed, checked and tried, without any server.
//!
//! Whatever a command makes is read back by the verifier's own engine before it is written.

mod archive;
mod arguments;
mod compression;
mod cpio;
mod create;
mod deb;
mod diff;
mod document;
mod explain;
mod file;
mod harvest;
mod initrd;
mod lint;
mod loaded;
mod measured_boot;
mod merge;
mod ordered;
mod repository;
mod root;
mod rpm;
mod signing;
#[cfg(test)]
mod tests;
mod trial;

pub(crate) use arguments::PolicyToolsArguments;

use serde_json::Value;

use self::arguments::{CreateCommand, OutputArguments, PolicyCommand};
use crate::{failure::Failure, inspect::print_text, output::outln};

pub(crate) fn run(arguments: &PolicyToolsArguments) -> Result<(), Failure> {
    match &arguments.command {
        PolicyCommand::Create(create) => match &create.command {
            CreateCommand::MeasuredBoot(arguments) => measured_boot::run(arguments),
            CreateCommand::Runtime(arguments) => create::run(arguments),
        },
        PolicyCommand::Diff(arguments) => diff::run(arguments),
        PolicyCommand::Explain(arguments) => explain::run(arguments),
        PolicyCommand::Lint(arguments) => lint::run(arguments),
        PolicyCommand::Merge(arguments) => merge::run(arguments),
        PolicyCommand::Sign(arguments) => signing::sign(arguments),
        PolicyCommand::Try(arguments) => trial::run(arguments),
        PolicyCommand::Verify(arguments) => signing::verify(arguments),
    }
}

/// Writes a policy to its file and a summary to standard output, or the policy alone to standard output.
fn deliver(policy: &[u8], summary: &Value, to: &OutputArguments) -> Result<(), Failure> {
    match &to.output {
        Some(path) => {
            file::write(path, policy)?;
            show(summary, to.json.json);
        }
        None => outln!("{}", String::from_utf8_lossy(policy.trim_ascii_end())),
    }
    Ok(())
}

/// Prints a result as JSON or in words.
fn show(value: &Value, json: bool) {
    if json {
        outln!("{value}");
    } else {
        print_text(value, 0);
    }
}
