# make demo   builds the shell and walks through the main job on a sample shop
# make test   everything that CI runs
# make bench  the measurements, kept in bench/runs (many minutes)
#
# Needed: cargo, a C compiler, make. What else is missing is set up or named.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Each crate is compiled once here; what incremental builds keep would only cost time and space.
export CARGO_INCREMENTAL := 0

.PHONY: demo test bench tools lint-tools

demo: tools
	$(CARGO) build --release --locked --bin sidql
	rm -f demo.sidql
	$(TARGET)/release/sidql demo demo.sidql

test: tools lint-tools
	$(CARGO) fmt --all --check
	$(CARGO) test --quiet --locked -p sidql-tidy
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p sidql --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --exclude sidql-bench --no-deps
	$(CARGO) test --locked --workspace

bench: tools
	bench/run.sh prefix
	bench/run.sh beauty

tools:
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing: install Rust first" >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
	  echo "a C compiler is missing: apt-get install build-essential" >&2; exit 1; }

lint-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
