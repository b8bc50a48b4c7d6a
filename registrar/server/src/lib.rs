//! registrar-server.
