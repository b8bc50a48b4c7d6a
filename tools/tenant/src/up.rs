//! `attestry up`.
use crate::{cli::UpArguments, failure::Failure};
pub(crate) async fn run(_arguments: Box<UpArguments>) -> Result<(), Failure> {
    Err(Failure::new("pending"))
}
