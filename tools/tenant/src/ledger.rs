//! `attestry ledger …`.
use crate::{cli::LedgerArguments, failure::Failure};
pub(crate) fn run(_arguments: &LedgerArguments) -> Result<(), Failure> {
    Err(Failure::new("pending"))
}
