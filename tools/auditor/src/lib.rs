//! tools-auditor.
