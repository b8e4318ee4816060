# What to run. `make` alone lists the targets.

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
.PHONY: help tools build demo local chaos bench test fuzz lint clean rust

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## install the pinned tools into .tools/
	@tools/install.sh

build: tools $(BUILT) ## build the functions and the template into .aws-sam/

# Builds the functions, and meanwhile what cargo is told to: linking a function keeps one processor busy only.
build_beside = @cargo $(1) & beside=$$!; $(MAKE) --no-print-directory build; built=$$?; wait $$beside && exit $$built

demo: rust ## show the main job on a local cloud, with endpoints that work, recover and fail
	$(call build_beside,build -q -p demo --bin demo)
	@cargo run -q -p demo --bin demo

local: rust ## run the same stack on a local cloud until Ctrl-C, and print its URLs
	$(call build_beside,build -q -p demo --bin local)
	@cargo run -q -p demo --bin local

# SEED and DELIVERIES choose the run, as in `make chaos SEED=7 DELIVERIES=500`.
chaos: rust ## inject faults on a local cloud, then check what became of every delivery
	$(call build_beside,build -q -p chaos)
	@cargo run -q -p chaos

# ONLY chooses parts: starts, work, latency, costs, growth, fault, neighbours, flood, overflow.
# Its floor and its Lambda that does nothing are built as the functions are, and so is the benchmark itself on the way.
bench: build ## measure what a delivery costs in work, money and time, and write docs/measurements.md; twenty minutes
	@tools/install_bench.sh
	@echo "bench: building it, which takes minutes the first time"
	@cd tools/bench && PATH="$(SAM_BIN):$$PATH" cargo lambda build --release
	@target/lambda/bench/bootstrap $(ONLY)

test: rust ## run every test, the journeys on a local cloud included
	$(call build_beside,test -q --workspace --no-run)
	@cargo test --workspace

CARGO_FUZZ := $(CURDIR)/.tools/fuzz-0.13.2/bin/cargo-fuzz

# FUZZ_SECONDS is how long each target is fuzzed, 30 unless set.
fuzz: $(CARGO_FUZZ) ## search for inputs that break what reads messages and settings
	@tools/fuzz.sh $(CARGO_FUZZ)

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
