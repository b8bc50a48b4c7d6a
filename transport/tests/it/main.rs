//! The real server and client on loopback ports, with certificates made for each test.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod access;
mod authority;
mod exchange;
mod limits;
mod shutdown;
mod support;
mod trust;
