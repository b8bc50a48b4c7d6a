//! The ledger's service: keeps the bytes of the log, signs its checkpoints, answers over mutual TLS.
//!
//! Not in here: what an entry may say and what may follow it (`ledger-protocol`), and how a
//! stranger verifies the log (`ledger-tlog`).

mod api;
mod blobs;
mod checkpoints;
mod clock;
mod disk;
mod engine;
mod entropy;
mod folder;
mod fsck;
mod histories;
mod identity;
mod levels;
mod lock;
mod maintenance;
mod ownership;
mod receipts;
mod segment;
mod service;
mod stamping;
mod stamps;
mod static_export;
mod store;
mod trust_files;
mod witnessing;

pub use checkpoints::NoteFlaw;
pub use engine::{AppendFailed, CHECKPOINT_INTERVAL, Ledger, LogConfig, OpenError, SEGMENT_BYTES_MAX, WHOLE_BYTES_MAX};
pub use fsck::{Finding, FsckError, FsckReport, Severity, fsck, fsck_showing};
pub use histories::{CENSUS_EPOCH, HistoriesConfig, HistoriesError, IDLE_CHECKPOINT_INTERVAL};
pub use identity::{IdentityError, InitError, init};
pub use ledger_keys::KeyType;
pub use lock::LockError;
pub use maintenance::{info, info_of, reindex, reindex_log};
pub use ownership::OwnershipError;
pub use receipts::{ReceiptKeyError, ReceiptUnavailable};
pub use segment::{BatchFlaw, ReadError};
pub use service::{Config, Running, StartError, StopError, start};
pub use stamping::{StampingAuthority, StampingAuthorityError, StampingConfig, StampingNameTaken};
pub use static_export::{ExportError, ExportReport, export};
pub use store::IndexError;
pub use trust_files::{TrustFileError, certificates};
pub use witnessing::{
    Contradiction, WITNESS_TIMEOUT, WitnessConfig, WitnessPolicy, WitnessPolicyError, WitnessesRefuse,
};
