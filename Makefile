# `make help` lists the targets. The only tools taken from the system are a Rust toolchain (cargo) and a
# Python of at least 3.11; everything else is installed into .venv, and .make remembers what is up to date.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

# The Python that .venv is made from; by default the first one that is new enough.
PYTHON ?=
CARGO ?= cargo

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
RUN_PYTHON := $(BIN)/python

# ruff formats the code in Markdown too; what other programs wrote into model folders stays as they wrote it.
NOT_OURS := --exclude tests/fixtures --exclude models/all-MiniLM-L6-v2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(RUN_PYTHON) -m pip --quiet
# The exact versions and hashes of locks/, or, for a Python that they are not for, what pyproject.toml allows: make UNLOCKED=1
ifdef UNLOCKED
INSTALL = $(PIP) install --group $(1)
else
INSTALL = $(PIP) install --require-hashes --requirement locks/$(1).txt
endif

# In CI the lock file is the truth, and what only speeds up the next edit is not worth its disk space.
ifdef CI
LOCKED := --locked
export CARGO_INCREMENTAL := 0
endif

RUST_SOURCES := Cargo.toml Cargo.lock $(wildcard src/*.rs src/*/*.rs src/*/*/*.rs src/*/*/*/*.rs src/serve/openapi/* src/serve/pages/*)

# A crate of its own, so that oxembed's builds never wait for it; the lock file is its own, too.
TEST_PROVIDER := --manifest-path tests/provider_plugin/Cargo.toml
TEST_PROVIDER_BUILD := $(LOCKED) --release $(TEST_PROVIDER) --target-dir target
TEST_PROVIDER_SOURCES := $(wildcard tests/provider_plugin/Cargo.* tests/provider_plugin/src/*.rs)
ifeq ($(OS),Windows_NT)
TEST_PROVIDER_LIBRARY := target/release/oxembed_test_provider.dll
else ifeq ($(shell uname -s),Darwin)
TEST_PROVIDER_LIBRARY := target/release/liboxembed_test_provider.dylib
else
TEST_PROVIDER_LIBRARY := target/release/liboxembed_test_provider.so
endif

# A stamp is worth nothing once the thing it stands for was deleted by hand.
ifeq ($(wildcard $(VENV)/pyvenv.cfg),)
$(shell rm -rf .make)
endif
ifeq ($(wildcard python/oxembed/_core.*so python/oxembed/_core.*pyd),)
$(shell rm -f .make/package)
endif
ifeq ($(wildcard $(TEST_PROVIDER_LIBRARY)),)
$(shell rm -f .make/test-provider)
endif

# Runs a command and shows one line, or everything it printed where it fails: $(CHECK) NAME COMMAND... Where it passed before
# with exactly the same sources it only says so: `make test` goes on where it was. AGAIN=1 runs everything again.
CHECK := $(RUN_PYTHON) tools/step.py
# The same for tests: what they print is shown as it comes.
RUN_TESTS := $(CHECK) --show $(if $(PYTEST_ARGS),--always)

# The Rust tests get the library that the Python package finds: the one inside the installed onnxruntime wheel.
FIND_RUNTIME := from oxembed.runtime import find_library; print(find_library())
WITH_RUNTIME := library="$${ORT_DYLIB_PATH:-$$($(RUN_PYTHON) -c '$(FIND_RUNTIME)')}" || exit 1; export ORT_DYLIB_PATH="$$library";

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

##### The two commands of the README

.PHONY: demo
demo: .make/package ## set up and rank the lines of a real text file by meaning
	@echo
	@echo '$$ oxembed search "a digging machine cuts the network cable" --input data/jargon.txt --top 5'
	@echo
	@$(BIN)/oxembed search "a digging machine cuts the network cable" --input data/jargon.txt --top 5

.PHONY: test
test: test-setup lint rust-test model-test doctest wheel-test pytest provider-test ## set up and run every test, lint and type check
	@echo 'Everything passed.'

##### Setting up

.PHONY: setup
setup: .make/tools .make/package ## make .venv with all tools and the package, built from these sources

.make/venv:
	@mkdir -p .make
	@command -v "$(CARGO)" >/dev/null || { \
		echo 'oxembed needs a Rust toolchain, and there is no cargo on the PATH: install it from https://rustup.rs' >&2; \
		exit 1; }
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	asked='$(PYTHON)'; found=; \
	for python in $${asked:-python3 python3.14 python3.13 python3.12 python3.11 python}; do \
		if "$$python" -c "$$new_enough" >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "oxembed needs Python 3.11 or newer; $${asked:-the Python on the PATH} is absent or older." >&2; \
		echo 'Install one, or name one: make setup PYTHON=/path/to/python3' >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)
	@$(if $(UNLOCKED),$(PIP) install --upgrade 'pip>=25.1',$(call INSTALL,pip))
	@touch $@

.make/maturin: .make/venv pyproject.toml locks/build.txt
	@$(call INSTALL,build)
	@touch $@

.make/tools: .make/maturin pyproject.toml locks/dev.txt
	@echo 'Installing the tools for tests and lints'
	@$(call INSTALL,dev)
	@touch $@

.make/workflow-linters: .make/venv locks/workflows.txt
	@$(call INSTALL,workflows)
	@touch $@

.make/supply-chain: .make/venv locks/supply-chain.txt
	@$(call INSTALL,supply-chain)
	@touch $@

.make/zig: .make/maturin locks/portable.txt
	@$(call INSTALL,portable)
	@touch $@

# Editable: a change of the Python sources needs no new build. Without a group named, maturin would install the
# group `dev`, of which the demonstration needs nothing.
.make/package: .make/maturin pyproject.toml locks/package.txt $(RUST_SOURCES)
	@$(if $(UNLOCKED),,$(call INSTALL,package))
	@echo 'Building the package (the first time, about four minutes on two cores)'
	@PIP_QUIET=1 VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/maturin develop --release $(LOCKED) --group build
	@touch $@

.PHONY: build
build: .make/package ## build the package into .venv, where its Rust sources changed

.PHONY: wheel
wheel: .make/package ## build the wheel into dist/
	@$(CHECK) --makes 'dist/*.whl' wheel $(BIN)/maturin build --release $(LOCKED) --interpreter $(RUN_PYTHON) --out dist

# A wheel for other machines than this: what it needs of the C library is no newer than what its name says. Linux only;
# the wheels of macOS and Windows are portable as they come. A free-threaded Python (PYTHON=python3.14t) gives a wheel of its
# own, any other the one for all: PyO3 leaves the stable ABI out where it is not offered.
TARGET ?= $(shell uname -m)-unknown-linux-gnu
COMPATIBILITY := $(if $(findstring musl,$(TARGET)),musllinux_1_2,manylinux_2_28)

.PHONY: portable-wheel
portable-wheel: .make/zig ## build a manylinux or musllinux wheel into dist/; TARGET=x86_64-unknown-linux-musl
	@if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx '$(TARGET)'; then \
		rustup target add '$(TARGET)'; fi
	@$(CHECK) --makes 'dist/*.whl' portable-wheel env PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin build --release $(LOCKED) \
		--interpreter $(RUN_PYTHON) --zig --target '$(TARGET)' --compatibility '$(COMPATIBILITY)' --out dist

.PHONY: sdist
sdist: .make/maturin ## build the source archive into dist/
	@$(CHECK) --makes 'dist/*.tar.gz' sdist $(BIN)/maturin sdist --out dist

##### Lints and types

.PHONY: lint
lint: fmt-check clippy rustdoc types stubtest workflows lock-check sbom-check unsafe-check proto-check deny ## every lint and type check

.PHONY: fmt-check
fmt-check: .make/tools ## is everything formatted, and does ruff agree?
	@$(CHECK) rustfmt $(CARGO) fmt --check
	@$(CHECK) rustfmt-plugin $(CARGO) fmt --check $(TEST_PROVIDER)
	@$(CHECK) rustfmt-fuzz $(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	@$(CHECK) rustfmt-proto $(CARGO) fmt --check --manifest-path proto/generator/Cargo.toml
	@$(CHECK) ruff-format $(BIN)/ruff format --check --quiet $(NOT_OURS) .
	@$(CHECK) ruff $(BIN)/ruff check --quiet .

.PHONY: clippy
clippy: .make/venv ## clippy, without features and with all, and of the test provider
	@$(CHECK) clippy $(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	@$(CHECK) clippy-features $(CARGO) clippy $(LOCKED) --all-targets --features python,serve -- -D warnings
	@$(CHECK) clippy-plugin $(CARGO) clippy $(TEST_PROVIDER_BUILD) --all-targets -- -D warnings

.PHONY: rustdoc
rustdoc: .make/venv ## the Rust documentation, with no broken link
	@$(CHECK) rustdoc env RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(LOCKED) --no-deps --features serve

# A crate of its own: proto/generator/Cargo.toml says why.
GENERATE_PROTO := $(CARGO) run $(LOCKED) --quiet --manifest-path proto/generator/Cargo.toml --target-dir target

.PHONY: proto
proto: ## write the Rust code of proto/oxembed.proto
	@$(GENERATE_PROTO)

.PHONY: proto-check
proto-check: .make/venv ## is it what the file says?
	@$(CHECK) proto $(GENERATE_PROTO) -- --check

# Scripts of one module name each, so each is checked by itself.
.PHONY: types
types: .make/tools .make/package ## mypy and basedpyright, both strict
	@$(CHECK) mypy $(BIN)/mypy --strict python tests/python
	@$(CHECK) mypy-models $(BIN)/mypy --strict models/build.py
	@$(CHECK) mypy-calibrate $(BIN)/mypy --strict models/calibrate.py
	@$(CHECK) mypy-quantize $(BIN)/mypy --strict models/quantize.py
	@$(CHECK) mypy-corpora $(BIN)/mypy --strict data/build.py
	@$(CHECK) mypy-benches env MYPYPATH=python:benches:benches/python $(BIN)/mypy --strict benches/python benches/peer
	@$(CHECK) mypy-tools $(BIN)/mypy --strict $(wildcard tools/*.py)
	@$(CHECK) mypy-wheel $(BIN)/mypy --strict $(wildcard tests/wheel/*.py) tests/some_ran.py tests/provider_packages.py tests/coverage_report.py \
		tests/mutants.py
	@$(CHECK) mypy-stress env MYPYPATH=python:tests/stress $(BIN)/mypy --strict tests/stress
	@$(CHECK) basedpyright $(BIN)/basedpyright --pythonpath $(RUN_PYTHON)

.PHONY: stubtest
stubtest: .make/tools .make/package ## does the stub say what the compiled module has?
	@$(CHECK) stubtest env MYPYPATH=python $(RUN_PYTHON) -m mypy.stubtest oxembed._core

.PHONY: workflows
workflows: .make/workflow-linters ## the CI workflows: are they safe, valid, and without mistakes?
	@$(CHECK) zizmor $(BIN)/zizmor --offline --no-progress --quiet .github/workflows
	@$(CHECK) workflow-schema $(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(CHECK) jactionlint $(BIN)/jactionlint --no-online --strict-exit --shellcheck= .github/workflows/*.yml

##### Tests

.PHONY: test-provider
test-provider: .make/test-provider ## build the plug-in execution provider that only tests use

.make/test-provider: $(TEST_PROVIDER_SOURCES)
	@mkdir -p .make
	@$(CARGO) build --quiet $(TEST_PROVIDER_BUILD)
	@touch $@

.PHONY: rust-test
rust-test: .make/package ## Rust tests and the examples in the documentation
	@$(WITH_RUNTIME) if command -v cargo-nextest >/dev/null; then \
		$(RUN_TESTS) rust-test $(CARGO) nextest run $(LOCKED) --features serve --cargo-quiet --no-fail-fast --status-level slow --final-status-level fail; \
	else $(RUN_TESTS) rust-test $(CARGO) test $(LOCKED) --features serve --quiet --no-fail-fast --lib --bins --tests --examples; fi
	@$(WITH_RUNTIME) $(RUN_TESTS) rust-doctest $(CARGO) test $(LOCKED) --features serve --quiet --doc
	@$(CHECK) test-plugin $(CARGO) test $(TEST_PROVIDER_BUILD)

.PHONY: model-test
model-test: .make/package ## is the embedded model what the scripts in models/ make?
	@$(CHECK) model $(RUN_PYTHON) models/build.py --check
	@$(CHECK) calibration $(RUN_PYTHON) models/calibrate.py --check
	@$(CHECK) int8 $(RUN_PYTHON) models/quantize.py --check

.PHONY: doctest
doctest: .make/tools .make/package ## the examples in the Python documentation
	@$(CHECK) doctest $(RUN_PYTHON) -m pytest --quiet --doctest-modules python/oxembed

.PHONY: wheel-test
wheel-test: wheel ## install the wheel into an empty environment and use it with no network
	@$(CHECK) --reads 'dist/*.whl' wheel-test $(RUN_PYTHON) tests/wheel/check_wheel.py dist --schema

.PHONY: sdist-test
sdist-test: sdist ## make the wheel of the source archive alone, and use it like the other
	@$(CHECK) --reads 'dist/*.tar.gz' sdist-test $(RUN_PYTHON) tests/wheel/check_wheel.py dist/oxembed-*.tar.gz

# These take a wheel as it was built elsewhere, so they need neither Rust nor .venv, only a Python.
WHEEL ?= dist
ANY_PYTHON := $(or $(PYTHON),python3)

.PHONY: test-installed
test-installed: ## WHEEL=FILE.whl, or the one in dist/: use it, and run the Python tests, in empty environments
	@$(ANY_PYTHON) tests/wheel/check_wheel.py '$(WHEEL)'
	@$(ANY_PYTHON) tests/wheel/run_tests.py '$(WHEEL)' -- $(PYTEST_ARGS)

# What the oldest ONNX Runtime lacks: its list of what CoreML takes has GatherND and Identity from 1.27 on, and its CPU kernels
# make NaN of a decoder in half precision, in the rows of padding, before 1.25. Both are seen in exported files only.
EXPORT := tests/python/test_export.py
NOT_IN_OLDEST := --deselect $(EXPORT)::test_coreml_takes_every \
	$(foreach name,gemma3-mean-dense qwen3-lasttoken qwen3-sharded-bf16, \
	--deselect '$(EXPORT)::test_a_plain_session_has_the_same_vectors[$(name)-gpu')

.PHONY: test-oldest
test-oldest: ## the Python tests against the installed WHEEL, with the oldest dependencies it accepts
	@$(ANY_PYTHON) tests/wheel/run_tests.py '$(WHEEL)' --oldest -- $(NOT_IN_OLDEST) $(PYTEST_ARGS)

# There is no onnxruntime for musl on PyPI (1.24 to 1.31: manylinux, macOS arm64 and Windows only), so the wheel runs with
# Alpine's own package. The tests need onnx too, which has no musllinux wheel either: here the wheel is installed and used.
# `edge`, as a release keeps the onnxruntime of its day, and that may be older than the oldest we accept.
ALPINE := alpine:edge

.PHONY: test-alpine
test-alpine: ## install WHEEL (a musllinux wheel) in a container of Alpine Linux and use it; needs docker
	@docker run --rm --volume "$(CURDIR):/oxembed:ro" --workdir /oxembed $(ALPINE) sh tests/wheel/alpine.sh '$(WHEEL)'

.PHONY: pytest
pytest: .make/tools .make/package .make/test-provider ## the Python tests; PYTEST_ARGS="-k name" picks some
	@OXEMBED_TEST_PROVIDER="$(CURDIR)/$(TEST_PROVIDER_LIBRARY)" $(RUN_TESTS) pytest \
		$(RUN_PYTHON) $(if $(PYTEST_ARGS),-m pytest $(PYTEST_ARGS),tools/pytest_files.py)

##### Stress

# A new seed each time, which is printed; STRESS_SEED gives the same texts and draws again.
STRESS_MINUTES ?= 10
STRESS_SEED ?=
STRESS_ARGS = --minutes '$(STRESS_MINUTES)' $(if $(STRESS_SEED),--seed '$(STRESS_SEED)') --log .make/stress.jsonl

.PHONY: stress
stress: .make/tools .make/package ## mixed calls from threads, tasks and processes, all vectors checked; STRESS_MINUTES=10
	@OXEMBED_EXITS=40 $(RUN_PYTHON) -m pytest --quiet tests/python/test_faults_exit.py
	@$(RUN_PYTHON) tests/stress/run.py $(STRESS_ARGS)

# Needs a free-threaded Python, which no package registry has: name one, PYTHON=python3.14t. CI has it from setup-python.
.PHONY: stress-installed
stress-installed: ## the same with an installed WHEEL, in an empty environment; PYTHON=python3.14t for free threads
	@mkdir -p .make
	@$(ANY_PYTHON) tests/wheel/run_tests.py '$(WHEEL)' --program tests/stress/run.py -- $(STRESS_ARGS)

.PHONY: stress-free-threaded
stress-free-threaded: ## the stress in a free-threaded Python, where there is one on the PATH
	@for python in $(PYTHON) python3.14t python3.13t; do \
		if "$$python" -c 'import sys; sys.exit(sys._is_gil_enabled())' 2>/dev/null; then \
			$(MAKE) portable-wheel stress-installed PYTHON="$$python"; exit $$?; fi; done; \
	echo 'There is no free-threaded Python here: install python3.14t and name it, make $@ PYTHON=/path/to/python3.14t'; \
	exit 1

##### Execution providers as they are published

# In folders of their own: in .venv, `provider="auto"` of all other tests would find them.
PLUG_INS := .make/plug-ins
OPENVINO_FLAVOUR := .make/openvino-flavour

# The script's last act is the file that is the target.
$(PLUG_INS)/absent.json $(OPENVINO_FLAVOUR)/absent.json: .make/%/absent.json: .make/tools tests/provider_packages.py
	@echo 'Installing execution providers: $*'
	@$(RUN_PYTHON) tests/provider_packages.py $* .make/$*

.PHONY: provider-test
provider-test: .make/package $(PLUG_INS)/absent.json $(OPENVINO_FLAVOUR)/absent.json ## OpenVINO and WebGPU themselves
	@OXEMBED_REAL_PLUG_INS="$(CURDIR)/$(PLUG_INS)" OXEMBED_OPENVINO_FLAVOUR="$(CURDIR)/$(OPENVINO_FLAVOUR)" \
		$(RUN_TESTS) provider-test $(RUN_PYTHON) -m pytest $(wildcard tests/python/test_real_providers_*.py) $(PYTEST_ARGS)

# Everything is installed before the first step of `make test`: what is installed is a part of what a step passed with.
.PHONY: test-setup
test-setup: setup .make/workflow-linters .make/supply-chain .make/test-provider
test-setup: $(PLUG_INS)/absent.json $(OPENVINO_FLAVOUR)/absent.json

##### CoreML, which is a part of macOS

# On anything but a Mac with Apple silicon these say so and are done. There, a run in which no test ran is a failure:
# pytest's exit status 5 is one by itself, and where all were skipped the report tells.
MACHINE := $(shell uname -sm)
ON_APPLE_SILICON = case '$(MACHINE)' in 'Darwin arm64') ;; *) \
	echo 'There is no CoreML here ($(MACHINE)): $@ has nothing to do.'; exit 0;; esac

.PHONY: coreml-test
coreml-test: .make/tools .make/package ## the tests marked `coreml`, on a Mac with Apple silicon
	@$(ON_APPLE_SILICON); $(RUN_PYTHON) -m pytest -m coreml --junit-xml=.make/coreml.xml $(PYTEST_ARGS) && \
		$(RUN_PYTHON) tests/some_ran.py .make/coreml.xml

# In CI the table goes to the summary of the job.
SUMMARY ?= $(or $(GITHUB_STEP_SUMMARY),.make/coreml.md)

.PHONY: coreml-bench
coreml-bench: .make/package ## measure CoreML against the CPU, on a Mac with Apple silicon; writes coreml.json
	@$(ON_APPLE_SILICON); $(RUN_PYTHON) benches/python/coreml.py --provider coreml --summary "$(SUMMARY)" --json coreml.json

##### Supply chain: what is built in and installed, and where it comes from

.PHONY: lock
lock: .make/supply-chain ## write locks/, the exact Python packages and hashes, anew with the newest versions
	@$(RUN_PYTHON) tools/lock.py

.PHONY: lock-check
lock-check: .make/venv ## do the lock files fit pyproject.toml?
	@$(CHECK) lock $(RUN_PYTHON) tools/lock.py --check

.PHONY: sbom
sbom: .make/tools ## write sbom/, what the wheel is made of
	@$(RUN_PYTHON) tools/sbom.py

.PHONY: sbom-check
sbom-check: .make/tools ## is it what Cargo.lock and the embedded model say?
	@$(CHECK) sbom $(RUN_PYTHON) tools/sbom.py --check

.PHONY: unsafe-report
unsafe-report: .make/venv ## count the blocks of unsafe Rust, file by file
	@$(RUN_PYTHON) tools/unsafe_code.py

.PHONY: unsafe-check
unsafe-check: .make/venv ## does docs/unsafe.md count them right?
	@$(CHECK) unsafe $(RUN_PYTHON) tools/unsafe_code.py --check

# Double crates are of interest in what users get; a fuzzer or a program to compare with may have them.
CARGO_DENY := $(BIN)/cargo-deny --log-level error --locked
OTHER_CRATES := $(patsubst %/Cargo.lock,%,$(wildcard */Cargo.lock */*/Cargo.lock))

.PHONY: deny
deny: .make/supply-chain ## licences, double crates, where crates come from, of every Cargo.lock
	@$(CHECK) deny $(CARGO_DENY) check -D unmatched-skip -D license-not-encountered bans licenses sources
	@$(foreach crate,$(OTHER_CRATES),$(CHECK) deny-$(subst /,-,$(crate)) $(CARGO_DENY) --config deny.toml \
		--manifest-path $(crate)/Cargo.toml check -A license-not-encountered licenses sources &&) true

# What is known changes from day to day, so nothing is remembered.
.PHONY: audit
audit: .make/supply-chain ## are there advisories for what is locked? needs RustSec's and PyPI's databases
	@$(RUN_PYTHON) tools/audit.py $(patsubst %,--crate %,. $(OTHER_CRATES))

##### Fuzzing

# `rust-test` runs these tests too; this is for running them alone, and longer: make fuzz-short FUZZ_TIMES=50
.PHONY: fuzz-short
fuzz-short: .make/package ## the fuzz targets on their corpus and on some changes of it, on stable Rust
	@$(WITH_RUNTIME) $(CHECK) fuzz-short $(CARGO) test $(LOCKED) --features serve --quiet --test fuzz_targets

# Seconds for each target, and which: make fuzz FUZZ_TARGETS="weights onnx" FUZZ_SECONDS=60
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= $(sort $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))))
CARGO_FUZZ := .make/cargo/bin/cargo-fuzz
# ONNX Runtime keeps what it allocates for all sessions, so that leaks cannot be told from that.
FUZZ_OPTIONS := -max_total_time=$(FUZZ_SECONDS) -timeout=30 -rss_limit_mb=4096 -max_len=65536 -detect_leaks=0 -print_final_stats=1

$(CARGO_FUZZ):
	@echo 'Installing cargo-fuzz'
	@$(CARGO) install --quiet --locked --root .make/cargo --version '^0.13' cargo-fuzz

# What libFuzzer finds on the way is kept in .make/fuzz, so that a later run goes on from there; what breaks something is in
# fuzz/artifacts. Without a nightly toolchain there is no AddressSanitizer, and all the rest is the same.
.PHONY: fuzz
fuzz: .make/package $(CARGO_FUZZ) ## libFuzzer on each target for FUZZ_SECONDS; with AddressSanitizer where nightly Rust is
	@$(WITH_RUNTIME) sanitizer=none; \
	if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then sanitizer=address; export RUSTUP_TOOLCHAIN=nightly; fi; \
	failed=; for target in $(FUZZ_TARGETS); do \
		mkdir -p .make/fuzz/$$target; \
		dictionary=fuzz/dictionaries/$$target.dict; \
		echo "$$target, $(FUZZ_SECONDS) s, sanitizer: $$sanitizer"; \
		$(CARGO_FUZZ) run --sanitizer $$sanitizer $$target .make/fuzz/$$target fuzz/corpus/$$target -- $(FUZZ_OPTIONS) \
			$$(test -f $$dictionary && echo -dict=$$dictionary) || failed="$$failed $$target"; \
	done; \
	if [ -n "$$failed" ]; then echo "Something was found, see fuzz/artifacts:$$failed" >&2; exit 1; fi

##### The service's clients, and its routes under schemathesis for longer

# An environment of its own: what LangChain needs does not go together with everything that other tests have.
SERVE_CLIENTS := .make/serve-clients
SERVE_CLIENTS_PYTHON := $(SERVE_CLIENTS)/$(notdir $(BIN))/python

$(SERVE_CLIENTS)/ready: .make/venv pyproject.toml
	@echo 'Installing LangChain and LlamaIndex'
	@$(RUN_PYTHON) -m venv --clear $(SERVE_CLIENTS)
	@$(SERVE_CLIENTS_PYTHON) -m pip --quiet install --upgrade 'pip>=25.1'
	@$(SERVE_CLIENTS_PYTHON) -m pip --quiet install --group serve-clients
	@touch $@

.PHONY: serve-clients-test
serve-clients-test: .make/package $(SERVE_CLIENTS)/ready ## LangChain, LlamaIndex, openai and huggingface_hub against `oxembed serve`
	@OXEMBED_FRAMEWORKS=1 PYTHONPATH=python $(SERVE_CLIENTS_PYTHON) -m pytest tests/python/test_serve_frameworks.py \
		tests/python/test_serve_clients.py tests/python/test_serve_docs.py $(PYTEST_ARGS)

# Another seed each time, which is shown where something is found: make serve-fuzz FUZZ_SEED=123
FUZZ_EXAMPLES ?= 1000
FUZZ_SEED ?= $(shell echo $$RANDOM)

.PHONY: serve-fuzz
serve-fuzz: .make/tools .make/package ## schemathesis against `oxembed serve`, for a quarter of an hour; FUZZ_EXAMPLES=1000
	@OXEMBED_FUZZ_EXAMPLES='$(FUZZ_EXAMPLES)' OXEMBED_FUZZ_SEED='$(FUZZ_SEED)' \
		$(RUN_PYTHON) -m pytest tests/python/test_serve_openapi.py -k schemathesis $(PYTEST_ARGS)

# What the guide shows, of a service under load; needs Chromium or Chrome.
.PHONY: serve-pictures
serve-pictures: .make/tools .make/package ## take the pictures of the status page in docs/pictures
	@$(RUN_PYTHON) tests/python/serve_pictures.py docs/pictures

##### Coverage and mutants: how much the tests see. Not a part of `make test`; they take long

# cargo's own programs, where they are not installed: compiled from crates.io, once.
CARGO_TOOLS := .make/cargo
CARGO_LLVM_COV := 'cargo-llvm-cov@^0.9'
CARGO_MUTANTS := 'cargo-mutants@^27.1'

.make/cargo/bin/cargo-llvm-cov: .make/venv Makefile
	@$(CHECK) --always cargo-llvm-cov $(CARGO) install --locked --root $(CARGO_TOOLS) $(CARGO_LLVM_COV)
	@touch $@

.make/cargo/bin/cargo-mutants: .make/venv Makefile
	@$(CHECK) --always cargo-mutants $(CARGO) install --locked --root $(CARGO_TOOLS) $(CARGO_MUTANTS)
	@touch $@

# What reads the counts has to be of the LLVM that this rustc has: rustup's component, or LLVM_COV and LLVM_PROFDATA, or
# programs with that version in their names, as Debian and others install them.
.make/llvm-tools: Makefile
	@mkdir -p .make
	@if [ -n "$$LLVM_COV" ] && [ -n "$$LLVM_PROFDATA" ]; then \
		printf 'export LLVM_COV=%q LLVM_PROFDATA=%q\n' "$$LLVM_COV" "$$LLVM_PROFDATA" >$@; \
	elif command -v rustup >/dev/null && rustup component add llvm-tools >/dev/null 2>&1; then : >$@; \
	else \
		version=$$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'); \
		if cov=$$(command -v llvm-cov-$$version) && data=$$(command -v llvm-profdata-$$version); then \
			printf 'export LLVM_COV=%q LLVM_PROFDATA=%q\n' "$$cov" "$$data" >$@; \
		else \
			echo "No llvm-cov for the LLVM of rustc, $$version: run 'rustup component add llvm-tools'," \
				"install llvm-$$version, or set LLVM_COV and LLVM_PROFDATA to the two programs." >&2; exit 1; \
		fi; \
	fi

# A build, an environment and a package of its own: .venv and target stay as they are. Profiles are merged as processes
# end, into two files for each build, as hundreds of processes write them.
COVERAGE := .make/coverage
COVERAGE_BIN := $(COVERAGE)/venv/$(notdir $(BIN))
COVERAGE_MINIMUM := 90
WITH_COVERAGE = export CARGO_TARGET_DIR="$(CURDIR)/$(COVERAGE)/target" LLVM_PROFILE_FILE_NAME='oxembed-%2m.profraw' \
	PATH="$(CURDIR)/$(CARGO_TOOLS)/bin:$$PATH"; . .make/llvm-tools; \
	environment=$$($(CARGO) llvm-cov show-env --sh --no-cfg-coverage) || exit 1; eval "$$environment";

$(COVERAGE)/venv/ready: .make/venv pyproject.toml Makefile
	@mkdir -p $(COVERAGE)
	@$(RUN_PYTHON) -m venv --clear $(COVERAGE)/venv
	@$(COVERAGE_BIN)/python -m pip --quiet install --upgrade 'pip>=25.1'
	@$(COVERAGE_BIN)/python -m pip --quiet install --group coverage --group test
	@touch $@

# The tests of both languages run to their end, so that the report is of all of them; a failure fails the target after it.
.PHONY: coverage
coverage: $(CARGO_TOOLS)/bin/cargo-llvm-cov .make/llvm-tools $(COVERAGE)/venv/ready .make/maturin .make/test-provider ## lines that tests run, Rust and Python; PYTEST_ARGS as for pytest
	@rm -rf $(COVERAGE)/target/*.profraw $(COVERAGE)/data $(COVERAGE)/dist $(COVERAGE)/report; mkdir -p $(COVERAGE)/data
	@$(WITH_COVERAGE) $(CHECK) --always coverage-build $(BIN)/maturin build --profile dev --strip false $(LOCKED) \
		--interpreter $(COVERAGE_BIN)/python --out $(COVERAGE)/dist
	@$(COVERAGE_BIN)/python -m pip --quiet install --force-reinstall --no-deps $(COVERAGE)/dist/*.whl
	@$(COVERAGE_BIN)/python -m pip --quiet install $(COVERAGE)/dist/*.whl
	@failed=; $(WITH_COVERAGE) \
	export OXEMBED_TEST_PROVIDER="$(CURDIR)/$(TEST_PROVIDER_LIBRARY)"; \
	ORT_DYLIB_PATH=$$($(COVERAGE_BIN)/python -c '$(FIND_RUNTIME)') && export ORT_DYLIB_PATH || exit 1; \
	if command -v cargo-nextest >/dev/null; then rust_tests='nextest run --cargo-quiet --status-level fail'; \
	else rust_tests='test --quiet --lib --bins --tests --examples'; fi; \
	$(CARGO) $$rust_tests $(LOCKED) --features serve --no-fail-fast || failed='the Rust tests'; \
	unset ORT_DYLIB_PATH; \
	$(COVERAGE_BIN)/coverage run -m pytest -p no:cacheprovider $(PYTEST_ARGS) || failed="$$failed the Python tests"; \
	mkdir -p $(COVERAGE)/report && $(COVERAGE_BIN)/coverage combine --quiet && \
	$(COVERAGE_BIN)/coverage lcov --quiet -o $(COVERAGE)/python.lcov && \
	$(COVERAGE_BIN)/coverage html --quiet -d $(COVERAGE)/report/python && \
	$(CARGO) llvm-cov report --lcov --output-path $(COVERAGE)/rust.lcov && \
	$(CARGO) llvm-cov report --html --output-dir $(COVERAGE)/report/rust && \
	$(COVERAGE_BIN)/python tests/coverage_report.py $(COVERAGE)/rust.lcov $(COVERAGE)/python.lcov \
		--minimum $(COVERAGE_MINIMUM) --json $(COVERAGE)/coverage.json || exit 1; \
	if [ -n "$$failed" ]; then echo "FAIL  $$failed, above" >&2; exit 1; fi

.PHONY: mutants
mutants: $(CARGO_TOOLS)/bin/cargo-mutants ## faults put into planning, pooling, config: which do no tests find? MUTANTS_ARGS="--shard 1/4"
	@PATH="$(CURDIR)/$(CARGO_TOOLS)/bin:$$PATH" $(ANY_PYTHON) tests/mutants.py .make/mutants -- $(MUTANTS_ARGS)

##### The rest

# The oldest Rust that Cargo.toml promises; rustup installs it where it is absent.
MINIMUM_RUST ?= $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: minimum-rust
minimum-rust: .make/venv ## does everything compile with the oldest supported Rust?
	@rustup toolchain list | grep -q '^$(MINIMUM_RUST)' || rustup toolchain install '$(MINIMUM_RUST)' --profile minimal
	@$(CHECK) minimum-rust $(CARGO) '+$(MINIMUM_RUST)' check $(LOCKED)
	@$(CHECK) minimum-rust-python env PYO3_PYTHON="$(CURDIR)/$(RUN_PYTHON)" \
		$(CARGO) '+$(MINIMUM_RUST)' check $(LOCKED) --features python,serve

# Reads TAG from the environment, not as a part of the command: somebody else may have named it.
.PHONY: check-release
check-release: ## is TAG=v1.2.3 the version in Cargo.toml, and does CHANGELOG.md say when it was released?
	@version=$$($(CARGO) pkgid | sed 's/.*[@#]//'); \
	if [ "$$TAG" != "v$$version" ]; then \
		echo "The tag is '$$TAG', but Cargo.toml has version $$version: tag v$$version, or change the version." >&2; exit 1; fi; \
	if ! grep -q "^## \[$$version\] - [0-9]" CHANGELOG.md; then \
		echo "CHANGELOG.md has no line '## [$$version] - YEAR-MONTH-DAY': say what is in the release and when it was." >&2; \
		exit 1; fi; \
	echo "$$TAG is the version in Cargo.toml, and CHANGELOG.md has it."

##### Measuring

# ONNX=path/to/all-MiniLM-L6-v2/onnx/model.onnx names torch's export, which the Python programs that oxembed is compared
# with then run; otherwise they run the graph that oxembed exports. STEPS=limit,peers runs these alone.
.PHONY: bench
bench: .make/tools .make/package ## measure everything, in 40 minutes; goes on where it was; STEPS=limit,peers
	@$(if $(ONNX),ONNX="$(abspath $(ONNX))") $(RUN_PYTHON) benches/python/steps.py $(if $(STEPS),--only "$(STEPS)")

.PHONY: bench-million
bench-million: .make/tools .make/package ## a million texts streamed: half an hour in float32, ten minutes in int8
	@$(RUN_PYTHON) benches/python/growth.py --texts-only --dtypes int8 --up-to 1000000 --json .bench/growth_million_int8.json
	@$(RUN_PYTHON) benches/python/growth.py --texts-only --dtypes float32 --up-to 1000000 --json .bench/growth_million.json

.PHONY: report
report: .make/tools ## write docs/performance.md and its pictures from what make bench has measured
	@$(RUN_PYTHON) benches/python/report.py --publish

.PHONY: bench-int8
bench-int8: .make/tools .make/package ## measure int8 against float32, and onnxruntime's quantize_dynamic beside it
	@$(RUN_PYTHON) benches/python/int8.py --dynamic

##### Benches of the Rust core, and the guard that counts instructions

# A crate of its own, so that nobody who builds or tests oxembed compiles what only measurements need.
BENCHES := --manifest-path benches/Cargo.toml

lint: benches-lint

.PHONY: benches-lint
benches-lint: .make/venv ## rustfmt and clippy of the benches in Rust
	@$(CHECK) rustfmt-benches $(CARGO) fmt --check $(BENCHES)
	@$(CHECK) clippy-benches $(CARGO) clippy $(LOCKED) $(BENCHES) --target-dir target --all-targets -- -D warnings
	@$(CHECK) rustfmt-load $(CARGO) fmt --check $(LOAD)
	@$(CHECK) clippy-load $(CARGO) clippy $(LOCKED) $(LOAD) --target-dir target --all-targets -- -D warnings

# The load generator, a crate of its own, which needs nothing of oxembed.
LOAD := --manifest-path benches/load/Cargo.toml

.PHONY: serve-bench
serve-bench: .make/tools .make/package ## measure the service against the library and others' servers; writes .bench/serve.json
	@$(RUN_PYTHON) benches/python/serve.py --json .bench/serve.json

SERVE_MINUTES ?= 30

.PHONY: serve-endurance
serve-endurance: .make/tools .make/package ## all kinds of clients at the service for SERVE_MINUTES=30; every vector is checked
	@$(RUN_PYTHON) benches/python/serve_endurance.py --minutes '$(SERVE_MINUTES)' --json .bench/serve_endurance.json

# The names of benches that are run: CRITERION_ONLY=pooling
CRITERION_ONLY ?=

.PHONY: criterion
criterion: .make/package ## time each part of the Rust core, in three minutes; writes .bench/criterion.json
	@$(RUN_PYTHON) benches/python/criterion.py $(if $(CRITERION_ONLY),--only '$(CRITERION_ONLY)')

# The program that runs the benches under valgrind has to be of the version of their library.
GUARD_VERSION := $(shell sed -n 's/^gungraun = "=\(.*\)"/\1/p' benches/Cargo.toml)

target/guard-runner/$(GUARD_VERSION):
	@echo 'Installing gungraun-runner $(GUARD_VERSION)'
	@$(CARGO) install --quiet --locked --root target/guard-runner gungraun-runner --version '=$(GUARD_VERSION)'
	@touch $@

# What the instructions are compared with; without it, what this work started from.
BASE ?=

.PHONY: guard
guard: .make/package target/guard-runner/$(GUARD_VERSION) ## does anything take 5% more instructions than in BASE=COMMIT?
	@$(WITH_RUNTIME) $(RUN_PYTHON) benches/python/guard.py $(if $(BASE),--base '$(BASE)')

##### Memory and races: sanitizers, miri, valgrind

# Sanitizers and miri are in nightly compilers only: one of a date, so that it is the same tomorrow. With the nightly that is
# installed: make sanitize NIGHTLY=nightly
NIGHTLY ?= nightly-2026-05-20
NIGHTLY_CARGO := $(CARGO) +$(NIGHTLY)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
SUPPRESSIONS := $(CURDIR)/tests/sanitizers

.PHONY: nightly
nightly:
	@rustup toolchain list | grep -q '^$(NIGHTLY)' || rustup toolchain install '$(NIGHTLY)' --profile minimal
	@rustup --quiet component add --toolchain '$(NIGHTLY)' rust-src miri

.PHONY: sanitize
sanitize: sanitize-address sanitize-thread miri ## look for leaks, races and wrong memory in the Rust core; Linux

# With a target named, build scripts and macros are not instrumented. ONNX Runtime is not either, but what it allocates is seen.
# Tests ask for more memory than there is, and go on when they get none.
.PHONY: sanitize-address
sanitize-address: nightly .make/package ## all Rust tests under AddressSanitizer and LeakSanitizer; Linux
	@$(WITH_RUNTIME) $(CHECK) sanitize-address env CARGO_INCREMENTAL=0 RUSTFLAGS='-Zsanitizer=address' \
		ASAN_OPTIONS='allocator_may_return_null=1' \
		$(NIGHTLY_CARGO) test $(LOCKED) --target $(HOST) --target-dir target/sanitizers/address --lib --tests

# Where threads meet. The standard library is built with it: else its channels and locks would look like races.
THREAD_TESTS := pool failover tokenization backend choice converted threads cancel

.PHONY: sanitize-thread
sanitize-thread: nightly .make/package ## the Rust tests of the pool, failover and calls at once under ThreadSanitizer; Linux
	@$(WITH_RUNTIME) $(CHECK) sanitize-thread env CARGO_INCREMENTAL=0 RUSTFLAGS='-Zsanitizer=thread' \
		TSAN_OPTIONS='suppressions=$(SUPPRESSIONS)/races.supp:print_suppressions=0' \
		$(NIGHTLY_CARGO) test $(LOCKED) -Zbuild-std --target $(HOST) --target-dir target/sanitizers/thread \
		--lib --tests -- $(THREAD_TESTS)

# What needs no file mapped and no C: there miri sees every step. Drawn at random are a few cases, as each is slow.
MIRI_TESTS := schedule ladder batch postprocess int8 pool failover config::document onnx::wire cosine

.PHONY: miri
miri: nightly .make/venv ## the Rust tests of plans, batches, pooling, int8 and the pool in miri
	@$(CHECK) miri env MIRIFLAGS='-Zmiri-disable-isolation' PROPTEST_CASES=4 \
		$(NIGHTLY_CARGO) miri test $(LOCKED) --target-dir target/sanitizers/miri --lib -- $(MIRI_TESTS)

.PHONY: format
format: .make/tools ## format everything and mend what ruff can mend
	@$(CARGO) fmt
	@$(CARGO) fmt $(TEST_PROVIDER)
	@$(CARGO) fmt $(BENCHES)

	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet $(NOT_OURS) .

.PHONY: clean
clean: ## remove everything that make made
	@rm -rf $(VENV) .make dist target fuzz/target fuzz/artifacts python/oxembed/_core.*so python/oxembed/_core.*pyd
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
