//! verifier-server.
