//! Tokens of real authorities and of one made here with openssl.

mod authority;
mod tokens;
mod vectors;
