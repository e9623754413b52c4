# make demo   builds the shell and walks through the main job on a sample shop
# make test   everything that CI runs
# make python the Python module: installed into a venv of the target folder, tested, its types checked
# make bench  the measurements, kept in bench/runs (many minutes)
# make faiss  the shell with the index of kind faiss, in target/release; installs cmake and a BLAS where they are missing
# make cuda   the shell for NVIDIA cards, in target/cuda/release; needs no card, no driver and no CUDA toolkit
#
# Needed: cargo, a C compiler, make. What else is missing is set up or named.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Each crate is compiled once here; what incremental builds keep would only cost time and space.
export CARGO_INCREMENTAL := 0

# What only lints and docs need. A machine that checks once and is thrown away has little room: there it goes when they are
# done, and nobody looks at line tables.
LINT := $(TARGET)/lint
ifeq ($(CI),true)
export CARGO_PROFILE_DEV_DEBUG := none
endif

# Real weights that the tests run, from packages of PyPI and npm. Tests skip what is missing, and say so.
MODELS := $(abspath $(TARGET))/models

# A virtual environment with the Python module and what its tests import.
VENV := $(abspath $(TARGET))/venv

.PHONY: demo test python bench faiss cuda tools lint-tools models

demo: tools
	$(CARGO) build --release --locked --bin sidql
	rm -f demo.sidql
	$(TARGET)/release/sidql demo demo.sidql

test: tools lint-tools models
	$(CARGO) fmt --all --check
	$(CARGO) test --quiet --locked -p sidql-tidy
	$(CARGO) clippy --locked --target-dir "$(LINT)" --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --target-dir "$(LINT)" -p sidql --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --target-dir "$(LINT)" --workspace --exclude sidql-bench --no-deps
	[ "$$CI" != true ] || rm -rf "$(LINT)"
	SIDQL_MODELS="$(MODELS)" $(CARGO) test --locked --workspace
	$(MAKE) python

# The profile of the other tests, whose compiled crates it shares; `pip install ./bindings/python` builds for speed.
python: tools
	@python3 -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || { \
	  echo "Python with venv is missing: apt-get install python3-venv" >&2; exit 1; }
	[ -x "$(VENV)/bin/python" ] || python3 -m venv "$(VENV)"
	mkdir -p "$(VENV)/tmp"
	CARGO_TARGET_DIR="$(abspath $(TARGET))" MATURIN_PEP517_ARGS="--locked --profile dev" TMPDIR="$(VENV)/tmp" \
	  "$(VENV)/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-compile "./bindings/python[test]"
	cd bindings/python && "$(VENV)/bin/python" -B -m pytest
	cd bindings/python && "$(VENV)/bin/python" -m mypy --cache-dir "$(abspath $(TARGET))/mypy" -p sidql
	cd bindings/python && "$(VENV)/bin/python" -m mypy --cache-dir "$(abspath $(TARGET))/mypy" tests examples
	cd bindings/python && "$(VENV)/bin/python" -m mypy.stubtest --mypy-config-file pyproject.toml sidql

bench: tools models
	bench/run.sh prefix
	bench/run.sh open
	bench/run.sh beauty
	SIDQL_MODELS="$(MODELS)" bench/run.sh part
	bench/run.sh endpoint
	bench/run.sh sids
	SIDQL_MODELS="$(MODELS)" bench/run.sh ablation
	@[ -n "$(PYTHON)" ] || echo "encode and quantize are left out: PYTHON names no interpreter with bench/peers/python/requirements.txt" >&2
	PYTHON="$(PYTHON)" bench/run.sh recommend
	[ -z "$(PYTHON)" ] || SIDQL_MODELS="$(MODELS)" PYTHON="$(PYTHON)" bench/run.sh encode
	[ -z "$(PYTHON)" ] || PYTHON="$(PYTHON)" bench/run.sh quantize
	bench/run.sh near

faiss: tools
	@command -v cmake >/dev/null && [ -n "$$(find /usr/lib /usr/local/lib -name 'liblapack.*' 2>/dev/null | head -1)" ] || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq cmake g++ libopenblas-dev >/dev/null; } || { \
	  echo "needed are cmake, a C++ compiler and a BLAS: apt-get install cmake g++ libopenblas-dev" >&2; exit 1; }
	$(CARGO) build --release --locked --features faiss --bin sidql

cuda: tools
	CARGO="$(CARGO)" CARGO_TARGET_DIR="$(abspath $(TARGET))/cuda" tools/cuda/build.sh --bin sidql

models:
	@command -v npm >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq npm >/dev/null; } || true
	@python3 tests/fixtures/models/fetch.py "$(MODELS)" || { \
	  echo "some models could not be fetched (python3 with pip, and npm, are needed)" >&2; \
	  [ "$$CI" != true ]; }

tools:
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing: install Rust first" >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
	  echo "a C compiler is missing: apt-get install build-essential" >&2; exit 1; }

lint-tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
