# `make test` runs every test; it builds the testbed (a real Kubernetes control plane, from Go modules) on first use.

CARGO ?= cargo
# Of `make fuzz`, for each target.
SECONDS ?= 30
TARGETS ?=

# Google's Pub/Sub emulator, where its Debian package is installed; some tests of pulling run on it as well.
export PUSHROLL_PUBSUB_EMULATOR ?= $(wildcard /usr/lib/google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator)

.PHONY: help tools testbed test examples contract fuzz fmt clippy doc package deny advisories workflows check demo

help:
	@echo "make test      every test, on a real Kubernetes control plane too"
	@echo "make contract  openapi.yaml against a running service, with schemathesis"
	@echo "make fuzz      each parser for 30 s; SECONDS=3600 TARGETS=document for longer, and for one"
	@echo "make examples  each program of examples/ and crates/*/examples/"
	@echo "make package   the crates as they would be published"
	@echo "make deny      licences, sources and duplicates of the dependencies"
	@echo "make advisories  their known vulnerabilities; needs GitHub"
	@echo "make workflows  .github/workflows, with actionlint"
	@echo "make check     formatting, clippy, documentation: what CI checks before it tests"
	@echo "make demo      a push, played end to end in one process"

# A clear sentence instead of a failure half way through.
tools:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: install Rust with rustup (https://rustup.rs); rust-toolchain.toml names the version" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: install gcc or clang (Debian: apt-get install gcc)" >&2; exit 1; }
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or later (https://go.dev/dl); the testbed is built with it" >&2; exit 1; }

testbed: tools
	@tests/testbed/build

test: tools
	@binaries=$$(tests/testbed/build) && PUSHROLL_TESTBED="$$binaries" $(CARGO) test --locked --workspace

examples:
	$(CARGO) run --locked --quiet -p pushroll-core --example image_ref
	$(CARGO) run --locked --quiet -p pushroll-core --example cache_document </dev/null
	$(CARGO) run --locked --quiet -p pushroll-core --example event </dev/null
	$(CARGO) run --locked --quiet -p embedded-kubernetes --example restart
	$(CARGO) run --locked --quiet --example configmap_store
	$(CARGO) run --locked --quiet --example mount_reader

contract:
	@schemathesis=$$(tests/contract/build) && PUSHROLL_SCHEMATHESIS="$$schemathesis" $(CARGO) test --locked --test end_to_end -- contract_of_

fuzz:
	@fuzz/run $(SECONDS) $(TARGETS)

fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml

clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p pushroll --no-default-features -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --no-default-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

# What `cargo publish` would upload, without building it again.
package:
	$(CARGO) package --locked --workspace --no-verify --allow-dirty

deny:
	@deny=$$(tests/tools/build cargo-deny 0.20.2) && "$$deny" --locked check licenses bans sources

# Not of CI: what it says depends on the day, and its database is a git repository on GitHub.
advisories:
	@deny=$$(tests/tools/build cargo-deny 0.20.2) && timeout 300 "$$deny" --locked check advisories

workflows: tools
	go -C tests/workflows tool actionlint "$(CURDIR)"/.github/workflows/*.yaml

check: fmt clippy doc

demo:
	$(CARGO) run --locked -- demo
