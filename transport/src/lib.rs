//! How messages travel between the roles: mutual TLS (openssl), HTTP in (warp) and out (hyper),
//! size and time limits, and who may call which route.
//!
//! Nothing about attestation is in here: bodies are bytes, and what they mean is for the crates
//! that hand routes to [`router::Router`] or send requests with [`client::Client`].

pub mod ca;
pub mod client;
pub mod router;
pub mod secret_file;
pub mod secret_memory;
pub mod server;
pub mod tls;
