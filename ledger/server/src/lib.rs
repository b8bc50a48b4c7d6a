//! ledger-server.
