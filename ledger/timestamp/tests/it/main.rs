//! Tokens of real authorities and of one made here with openssl.

mod tokens;
mod vectors;
