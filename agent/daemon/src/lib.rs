//! The attester on each node: keeps an AK in the TPM, registers it, answers challenges with quotes and logs, and takes
//! a payload when both halves of its key have come.
//!
//! Not in it: any judgement of evidence, and the decisions of `agent_protocol`, which it carries out.

mod agent_data;
mod archive;
pub mod config;
mod entropy;
mod measured_lists;
mod node;
mod payload_key;
mod provisioner;
mod registrar;
mod revocation;
mod routes;
mod script;
mod secure_folder;
mod service;
mod tpm;

pub use config::Config;
pub use service::{Running, StartError, start};
