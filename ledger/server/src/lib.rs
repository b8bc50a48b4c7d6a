//! The ledger's service: keeps the bytes of the log, signs its checkpoints, answers over mutual TLS.
//!
//! Not in here: what an entry may say and what may follow it (`ledger-protocol`), and how a
//! stranger verifies the log (`ledger-tlog`).

mod api;
mod backup;
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
mod metrics;
mod monitoring;
mod ownership;
mod pruned;
mod pruning;
mod receipts;
mod retention;
mod segment;
mod service;
mod stamping;
mod stamps;
mod static_export;
mod store;
mod trust_files;
mod witnessing;

pub use backup::{
    BackupError, BackupReport, RestoreError, RestoreReport, RestoreRequest, backup, backup_without_keys, restore,
};
pub use checkpoints::NoteFlaw;
pub use engine::{AppendFailed, CHECKPOINT_INTERVAL, Ledger, LogConfig, OpenError, SEGMENT_BYTES_MAX, WHOLE_BYTES_MAX};
pub use fsck::{Finding, FsckError, FsckReport, Severity, fsck, fsck_showing};
pub use histories::{CENSUS_EPOCH, HistoriesConfig, HistoriesError, IDLE_CHECKPOINT_INTERVAL};
pub use identity::{IdentityError, InitError, init};
pub use ledger_keys::KeyType;
pub use lock::LockError;
pub use maintenance::{info, info_of, reindex, reindex_log};
pub use monitoring::Monitoring;
pub use ownership::OwnershipError;
pub use pruned::PrunedError;
pub use pruning::{BLOB_GRACE, PruneBelow, PruneError, PruneReport, PruneRequest};
pub use receipts::{ReceiptKeyError, ReceiptUnavailable};
pub use segment::{BatchFlaw, ReadError};
pub use service::{Config, Running, StartError, StopError, start};
pub use stamping::{StampingAuthority, StampingAuthorityError, StampingConfig, StampingNameTaken};
pub use static_export::{ExportError, ExportReport, ExportedBlobs, export};
pub use store::IndexError;
pub use trust_files::{TrustFileError, certificates};
pub use witnessing::{
    Contradiction, WITNESS_TIMEOUT, WitnessConfig, WitnessPolicy, WitnessPolicyError, WitnessesRefuse,
};
