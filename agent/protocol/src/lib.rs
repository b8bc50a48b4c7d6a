//! agent-protocol.
