//! The ledger as its callers meet it: over sockets, killed, starved, damaged.

mod api;
mod backup;
mod crash;
mod damage;
mod entries;
mod lock;
mod pruning;
mod receipts;
mod rig;
mod stamping;
mod static_export;
mod tiles;
mod witnessed;
