//! The ledger as its callers meet it: over sockets, killed, starved, damaged.
