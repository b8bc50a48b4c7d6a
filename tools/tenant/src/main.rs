//! `attestry`: the operator's command line, and the embedded form of the servers (`attestry up`).
//!
//! Not in it: any judgement of evidence. It asks the servers, or checks what a person would check by hand.

mod api;
mod cli;
mod clock;
mod entropy;
mod failure;
mod inspect;
mod keys;
mod ledger;
mod node;
mod output;
mod policy;
mod site;
mod tenant;
mod trust;
mod up;

use std::process::ExitCode;

use clap::Parser;
use transport::secret_memory::forbid_core_dumps;

use crate::{cli::Command, failure::Failure};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    forbid_core_dumps();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(cli: cli::Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Ledger(arguments) => ledger::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Tenant(arguments) => runtime()?.block_on(tenant::run(&arguments)),
        Command::Trust(arguments) => trust::run(&arguments),
        Command::Up(arguments) => runtime()?.block_on(up::run(arguments)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new().map_err(|error| Failure::system("start the runtime", error))
}
