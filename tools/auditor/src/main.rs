//! `attestry-audit`, see [`tools_auditor`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tools_auditor::cli::run()
}
