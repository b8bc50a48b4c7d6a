//! The whole chain as processes: a software TPM, `attestry-agent`, `attestry up`, `attestry`, `attestry-audit`.
//!
//! Each test has its own TPM, site and folder, and waits by polling with a deadline.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod apart;
mod appraisal;
mod cli;
mod long_list;
mod machine;
mod maintenance;
mod measured;
mod policy;
mod process;
mod recorded;
mod restarts;
mod signed_boot;
mod site;
mod stamped;
mod webhook;
mod whole_way;
