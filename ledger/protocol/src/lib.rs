//! ledger-protocol.
