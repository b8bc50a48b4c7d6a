//! agent-daemon.
