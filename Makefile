# `make test` runs every test; it builds the testbed (a real Kubernetes control plane, from Go modules) on first use.

CARGO ?= cargo

.PHONY: help tools testbed test fmt clippy doc check demo

help:
	@echo "make test    every test, on a real Kubernetes control plane too"
	@echo "make check   formatting, clippy, documentation: what CI checks before it tests"
	@echo "make demo    a push, played end to end in one process"

# A clear sentence instead of a failure half way through.
tools:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust with rustup (https://rustup.rs); rust-toolchain.toml names the version" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install gcc or clang (Debian: apt-get install gcc)" >&2; exit 1; }
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or later (https://go.dev/dl); the testbed is built with it" >&2; exit 1; }

testbed: tools
	@tests/testbed/build

test: tools
	@binaries=$$(tests/testbed/build) && PUSHROLL_TESTBED="$$binaries" $(CARGO) test --locked

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

check: fmt clippy doc

demo:
	$(CARGO) run --locked -- demo
