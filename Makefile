# `make` alone lists the targets.

ARCHITECTURE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
SAM_BIN      := $(CURDIR)/.tools/sam/bin
SAM          := $(SAM_BIN)/sam
DENY         := .tools/lint/bin/cargo-deny --offline
BUILT        := .aws-sam/built
FUNCTIONS    := $(notdir $(wildcard functions/*))
SOURCES      := template.yaml samconfig.toml Cargo.toml Cargo.lock rust-toolchain.toml $(wildcard .cargo/config.toml) \
                $(shell find shared functions -type f)

# Python's output is unbuffered, and sam sends no telemetry.
export PYTHONUNBUFFERED = 1
export SAM_CLI_TELEMETRY = 0

.DEFAULT_GOAL := help
.PHONY: help tools build demo local chaos bench test fuzz lint clean rust

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## install the pinned tools into .tools/
	@tools/install.sh

build: tools $(BUILT) ## build the functions and the template into .aws-sam/

# Builds the functions, and meanwhile what cargo is told to: linking a function keeps one processor busy only.
build_beside = @cargo $(1) & beside=$$!; $(MAKE) --no-print-directory build; built=$$?; wait $$beside && exit $$built

demo: rust ## show the main job on a local cloud, with every kind of endpoint and outcome
	$(call build_beside,build -q -p demo --bin demo)
	@cargo run -q -p demo --bin demo

local: rust ## run the same stack on a local cloud until Ctrl-C, and print its URLs
	$(call build_beside,build -q -p demo --bin local)
	@cargo run -q -p demo --bin local

# SEED and DELIVERIES are optional, as in `make chaos SEED=7 DELIVERIES=500`.
chaos: rust ## inject faults on a local cloud, then account for every delivery
	$(call build_beside,build -q -p chaos)
	@cargo run -q -p chaos

# ONLY selects parts: starts, work, latency, costs, growth, fault, neighbours, flood, overflow, api.
# The floor and the empty Lambda that it compares with are built like the functions, and so is the benchmark itself.
bench: build ## measure what a delivery costs in work, money and time, and write docs/measurements.md; twenty minutes
	@tools/install_bench.sh
	@echo "bench: building it, which takes minutes the first time"
	@cd tools/bench && PATH="$(SAM_BIN):$$PATH" cargo lambda build --release
	@target/lambda/bench/bootstrap $(ONLY)

test: rust ## run every test, including the journeys on a local cloud
	$(call build_beside,test -q --workspace --no-run)
	@cargo test --workspace

CARGO_FUZZ := $(CURDIR)/.tools/fuzz-0.13.2/bin/cargo-fuzz

# FUZZ_SECONDS is how long each target is fuzzed, 30 unless set.
fuzz: $(CARGO_FUZZ) ## search for inputs that break the parsers of messages and settings
	@tools/fuzz.sh $(CARGO_FUZZ)

$(CARGO_FUZZ): | rust
	@echo "fuzz: installing cargo-fuzz, which takes a minute"
	@CARGO_TARGET_DIR=target/fuzz/tool cargo install --quiet --locked --root .tools/fuzz-0.13.2 --version 0.13.2 cargo-fuzz

# cfn-lint also checks the state machine's definition, which is part of the template.
lint: tools rust ## check formatting, code, dependencies, template, state machine and page
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	CARGO_TARGET_DIR=target/fuzz/lint cargo clippy --quiet --manifest-path fuzz/Cargo.toml --bins -- -D warnings
	@tools/install.sh lint
	$(DENY) check -D unmatched-skip -D unnecessary-skip licenses bans sources
	$(DENY) --manifest-path fuzz/Cargo.toml --config deny.toml check -A unmatched-skip -A unnecessary-skip \
	    licenses bans sources
	$(SAM) validate --lint --region us-east-1
	$(SAM_BIN)/cfn-lint --non-zero-exit-code informational template.yaml
	tests/console/lint

clean: ## remove everything that was built or installed
	rm -rf .aws-sam .tools target tests/console/node_modules tests/console/test-results

rust:
	@command -v cargo >/dev/null || { echo "cargo was not found; install Rust from rustup.rs." >&2; exit 1; }

# Runs only when a source is newer, because sam takes five seconds even when there is nothing to compile. The functions
# are compiled before sam does so one by one: together they keep both processors busy, and cargo shows progress. sam finds
# cargo-lambda on the PATH, and cargo-lambda finds zig there. The stamp has the time of the build's start, so that the
# next build includes what was edited during this one.
$(BUILT): $(SOURCES) tools/sam.txt | tools rust
	@mkdir -p $(@D) && touch $@.started
	@echo "build: the functions for $(ARCHITECTURE), which takes minutes the first time"
	@PATH="$(SAM_BIN):$$PATH" cargo lambda build --release $(addprefix -p ,$(FUNCTIONS))
	@PATH="$(SAM_BIN):$$PATH" $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE) >$(@D)/build.log 2>&1 || \
	    { cat $(@D)/build.log >&2; exit 1; }
	@mv $@.started $@
