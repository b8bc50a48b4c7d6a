# setup  what is missing on this machine     demo   the whole chain on a software TPM
# test   every test                          check  format, lints, docs, layers, licences
# bench  target/bench/*.json                 clean  what the above left
# crash  the ledger's and the witness's crash and damage tests at full length
# fuzz   each parser for FUZZ_SECONDS (600); nightly Rust, cargo-fuzz
# interop  with stock Keylime, from PyPI     strangers  others' verifiers on our log (part of test)

PURE := -p evidence -p ledger-tlog -p ledger-timestamp -p messages -p agent-protocol -p registrar-protocol -p verifier-protocol -p ledger-protocol -p ledger-history

FUZZ_SECONDS ?= 600

.PHONY: setup demo test check bench crash fuzz interop strangers clean

setup:
	scripts/setup

demo: setup
	cargo build --workspace --bins
	scripts/demo

# The binaries first: the end-to-end tests start them as a user would.
test: setup
	cargo build --workspace --bins
	cargo test --workspace
	scripts/strangers

check: setup
	scripts/setup deny
	cargo fmt --all --check
	CLIPPY_CONF_DIR=scripts/pure cargo clippy $(PURE) --lib -- -D warnings -D clippy::disallowed_methods
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --quiet
	scripts/layers
	cargo deny --locked check bans licenses sources

bench: setup
	cargo bench --workspace --bench '*'

# One after the other: each of them keeps the disk busy.
crash: setup
	cargo build -p ledger-server -p ledger-witness --bins
	cargo test -p ledger-server -p ledger-witness -- --ignored --test-threads 1

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz

interop: setup
	cargo build --workspace --bins
	scripts/interop

strangers: setup
	scripts/strangers

clean:
	rm -rf target/demo target/bench target/interop target/strangers
