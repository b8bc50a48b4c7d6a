//! verifier-protocol.
