# What to run. `make` alone says what there is.

ARCHITECTURE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
SAM_BIN      := $(CURDIR)/.tools/sam/bin
SAM          := $(SAM_BIN)/sam
DENY         := .tools/lint/bin/cargo-deny --offline
BUILT        := .aws-sam/built
FUNCTIONS    := $(notdir $(wildcard functions/*))
SOURCES      := template.yaml samconfig.toml Cargo.toml Cargo.lock rust-toolchain.toml $(wildcard .cargo/config.toml) \
                $(shell find shared functions -type f)

# Python tools print as they go, and sam reports nothing to anyone.
export PYTHONUNBUFFERED = 1
export SAM_CLI_TELEMETRY = 0

.DEFAULT_GOAL := help
.PHONY: help tools build demo local chaos isolation bench test fuzz lint clean rust

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## install the pinned tools into .tools/
	@tools/install.sh

build: tools $(BUILT) ## build the functions and the template into .aws-sam/

demo: build ## show the main job on a local cloud: every kind of endpoint, every kind of ending
	@cargo build -p demo --bin demo
	@cargo run -q -p demo --bin demo

local: build ## keep the same stack up on a local cloud, and print its URLs
	@cargo build -p demo --bin local
	@cargo run -q -p demo --bin local

# SEED and DELIVERIES choose the run, as in `make chaos SEED=7 DELIVERIES=500`.
chaos: build ## make everything go wrong on a local cloud, and reckon up every delivery afterwards
	@cargo build -p chaos
	@cargo run -q -p chaos

# STRICT=1 makes it fail when a ratio is over budget: for a machine that does nothing else.
# ONLY chooses experiments: hanging, burst, flood, overflow, begin.
isolation: build ## measure what endpoints that hang, a burst and a flood do to others; about twelve minutes
	@cargo build -p tests --bin isolation
	@cargo run -q -p tests --bin isolation -- $(ONLY)

# ONLY chooses parts: starts, work, latency, costs, growth, fault, neighbours.
# Its floor and its Lambda that does nothing are built as the functions are, and so is the benchmark itself on the way.
bench: build ## measure what a delivery costs in work, money and time, beside its floor; about twelve minutes
	@tools/bench.sh
	@echo "bench: building it, which takes minutes the first time"
	@cd tools/bench && PATH="$(SAM_BIN):$$PATH" cargo lambda build --release
	@target/lambda/bench/bootstrap $(ONLY)

test: build ## run every test, the journeys on a local cloud included
	@cargo test --workspace

# Each target for FUZZ_SECONDS, 30 unless set. What they find new is kept under target/, so that the next run goes on from
# there. No sanitizer: they need another compiler, and there is no unsafe code of ours for them to watch.
FUZZ_SECONDS ?= 30
CARGO_FUZZ   := .tools/fuzz-0.13.2/bin/cargo-fuzz

fuzz: $(CARGO_FUZZ) ## search for inputs that break what reads messages and settings
	@CARGO_TARGET_DIR=target/fuzz/build $(CARGO_FUZZ) build --fuzz-dir fuzz --sanitizer none
	@for target in $(basename $(notdir $(wildcard fuzz/targets/*.rs))); do \
	    mkdir -p target/fuzz/corpus/$$target; \
	    echo "fuzz: $$target, for $(FUZZ_SECONDS) s"; \
	    CARGO_TARGET_DIR=target/fuzz/build $(CARGO_FUZZ) run --fuzz-dir fuzz --sanitizer none $$target \
	        target/fuzz/corpus/$$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=5 \
	        -rss_limit_mb=512 -artifact_prefix=target/fuzz/$$target- 2>&1 | \
	        tee target/fuzz/$$target.log | grep -a --line-buffered -E '^#[0-9]+[[:blank:]]+(pulse|DONE)'; \
	    grep -aqE '^#[0-9]+[[:blank:]]+DONE' target/fuzz/$$target.log || { grep -aA3 panicked target/fuzz/$$target.log; \
	        echo "fuzz: $$target found an input that it prints in target/fuzz/$$target.log; once that is mended, add the" \
	            "input to fuzz/corpus/$$target" >&2; exit 1; }; \
	done

$(CARGO_FUZZ): | rust
	@echo "fuzz: installing cargo-fuzz, which takes a minute"
	@CARGO_TARGET_DIR=target/fuzz/tool cargo install --quiet --locked --root .tools/fuzz-0.13.2 --version 0.13.2 cargo-fuzz

# cfn-lint checks the state machine's definition too, as it is written out in the template.
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

clean: ## remove what was built, and the tools
	rm -rf .aws-sam .tools target tests/console/node_modules tests/console/test-results

rust:
	@command -v cargo >/dev/null || { echo "Rust is needed and cargo was not found; install it from rustup.rs." >&2; exit 1; }

# Redone only when a source is newer: even with nothing to compile, sam takes five seconds to find that out. Each
# function is compiled before sam asks for it, with sam's own command, because sam keeps cargo's progress to itself.
# The path is where sam finds cargo-lambda, and cargo-lambda finds zig. The stamp has the time of the start, so that what
# is edited during a build is built by the next.
$(BUILT): $(SOURCES) tools/sam.txt | tools rust
	@mkdir -p $(@D) && touch $@.started
	@echo "build: the functions for $(ARCHITECTURE), which takes minutes the first time"
	@for function in $(FUNCTIONS); do \
	    (cd functions/$$function && PATH="$(SAM_BIN):$$PATH" cargo lambda build --release) || exit 1; \
	done
	@PATH="$(SAM_BIN):$$PATH" $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE) >$(@D)/build.log 2>&1 || \
	    { cat $(@D)/build.log >&2; exit 1; }
	@mv $@.started $@
