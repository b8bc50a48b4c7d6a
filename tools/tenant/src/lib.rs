//! tools-tenant.
