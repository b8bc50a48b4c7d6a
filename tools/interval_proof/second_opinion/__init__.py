"""A second implementation of docs/spec/interval-proof.md, written from the specifications alone.

Standard library and the `openssl` command; nothing of it is shared with the Rust code.
"""
