//! ledger-tlog.
