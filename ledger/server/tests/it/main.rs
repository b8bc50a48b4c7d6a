//! The ledger as its callers meet it: over sockets, killed, starved, damaged.

mod api;
mod crash;
mod damage;
mod entries;
mod rig;
mod tiles;
mod witnessed;
