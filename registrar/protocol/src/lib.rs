//! registrar-protocol.
