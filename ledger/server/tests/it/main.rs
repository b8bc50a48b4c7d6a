//! The ledger as its callers meet it: over sockets, killed, starved, damaged.

mod api;
mod backup;
mod clients;
mod crash;
mod damage;
mod entries;
mod histories;
mod hostile;
mod keys;
mod lock;
mod monitoring;
mod pruned_histories;
mod pruning;
mod receipts;
mod rig;
mod stamping;
mod static_export;
mod tiles;
mod witnessed;
