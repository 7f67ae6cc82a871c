# Every command installs what it needs first, from a bare clone on. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export LOVAGE_BIN := $(CARGO_TARGET_DIR)/release/lovage
export LOVAGE_GUESTS := $(CARGO_TARGET_DIR)/guests
export LOVAGE_PYTHON := $(CARGO_TARGET_DIR)/venv/bin/python
export PYTHONDONTWRITEBYTECODE := 1

# One profile for everything that compiles, so that the heavy dependencies are compiled once.
CARGO_FLAGS ?=
RELEASE := --release $(CARGO_FLAGS)
# What `make chaos`, `duplicates` and `waits` run on: all there is, unless BROKER names one.
PLACES := $(or $(BROKER),redis sqlite)
CHAOS := $(or $(BROKER),redis sqlite amqp)
# What `make bench` puts the worker on: redis, sqlite or amqp.
BROKER ?= redis
export BROKER SCENARIOS

.PHONY: help
help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## Install what is missing: Rust's targets, Redis, RabbitMQ, PostgreSQL, Python with Celery.
	@tests/tools/setup rust server python

.PHONY: build
build: ## Build target/release/lovage and the example modules in target/guests.
	@tests/tools/setup rust
	cargo build $(RELEASE) -p lovage
	guest-examples/build

.PHONY: demo
demo: build ## See it work: real Celery calls, each in a sandbox of its own.
	@tests/tools/setup python
	@$(LOVAGE_PYTHON) tests/demo/demo.py

.PHONY: test
test: ## Run every test, with real Redis and real Celery.
	@tests/tools/setup rust server python
	cargo build $(RELEASE) --workspace --all-targets
	guest-examples/build
	cargo test $(RELEASE) --workspace --no-fail-fast
	cargo test $(RELEASE) -p lovage-stores --features object-store --lib registry
	tests/languages/python/run
	tests/languages/js/run
	tests/languages/go/run
	tests/languages/run

.PHONY: check
check: ## Check format, lints, the house's rules, documentation and scripts.
	@tests/tools/setup rust
	cargo fmt --all --check
	cargo clippy $(RELEASE) --workspace --all-targets -- -D warnings
	cargo test $(RELEASE) --quiet -p lovage-tidy
	RUSTDOCFLAGS="-D warnings" cargo doc $(RELEASE) --workspace --no-deps --lib
	@tests/tools/syntax

.PHONY: bench
bench: build ## Measure Lovage beside Celery (BROKER=redis, sqlite or amqp; SCENARIOS=all or their names).
	@tests/tools/setup server python
	cargo build $(RELEASE) --workspace --example bare
	@$(LOVAGE_PYTHON) tests/bench/bench.py

.PHONY: bench-languages
bench-languages: build ## Measure every language, and Python and TypeScript beside Celery.
	@tests/tools/setup server python languages
	@$(LOVAGE_PYTHON) tests/bench/languages.py
	@$(LOVAGE_PYTHON) tests/bench/bench.py python --broker redis
	@$(LOVAGE_PYTHON) tests/bench/bench.py typescript --broker redis

.PHONY: chaos chaos-redis chaos-sqlite chaos-amqp
chaos: build ## Kill workers under load and count lost and doubled effects (on BROKER, or on all).
	@tests/tools/setup server python
	@$(MAKE) $(CHAOS:%=chaos-%)
# Broker and results apart, where settling is step by step, and in one database.
chaos-redis:
	@$(LOVAGE_PYTHON) tests/chaos/chaos.py --broker redis
	@$(LOVAGE_PYTHON) tests/chaos/chaos.py --broker redis --one-database
chaos-sqlite:
	@$(LOVAGE_PYTHON) tests/chaos/chaos.py --broker sqlite
# RabbitMQ is restarted and killed, too; ledger and results in two databases, and in one.
chaos-amqp:
	@$(LOVAGE_PYTHON) tests/chaos/chaos.py --broker amqp
	@$(LOVAGE_PYTHON) tests/chaos/chaos.py --broker amqp --one-database

.PHONY: chords
chords: build ## Send 1,000 chords, members twice, workers killed: every body once.
	@tests/tools/setup server python
	@$(LOVAGE_PYTHON) tests/chaos/chords.py

.PHONY: celery-suite
celery-suite: build ## Run Celery's own integration tests against a Lovage worker.
	@tests/tools/setup server python componentize
	@$(LOVAGE_PYTHON) tests/celery-suite/suite.py

.PHONY: duplicates
duplicates: build ## Ask for 10,000 keys ten times each: 10,000 runs, an answer for everybody.
	@tests/tools/setup server python
	@for place in $(PLACES); do $(LOVAGE_PYTHON) tests/chaos/chaos.py --duplicated --broker $$place; done

.PHONY: tenants
tenants: build ## Measure tenants: quiet ones beside one that floods, and 1,000 with a module each.
	@tests/tools/setup server python
	@$(LOVAGE_PYTHON) tests/bench/tenants.py flood --quiet 0
	@$(LOVAGE_PYTHON) tests/bench/tenants.py flood --quiet 200
	@$(LOVAGE_PYTHON) tests/bench/tenants.py flood --quiet 0 --task bench.sieve
	@$(LOVAGE_PYTHON) tests/bench/tenants.py modules

.PHONY: waits
waits: build ## Measure a million calls that wait for tomorrow: memory, and how late others are.
	@tests/tools/setup server python
	@for place in $(PLACES); do $(LOVAGE_PYTHON) tests/bench/waits.py --broker $$place; done

.PHONY: story
story: build ## Push, try, promote and roll back a module under load, a minute each (PHASE=seconds).
	@tests/tools/setup server python
	LOVAGE_PHASE_SECONDS=$(or $(PHASE),60) cargo test $(RELEASE) -p lovage-e2e --test api story::a_version

.PHONY: fmt
fmt: ## Format all Rust sources.
	@tests/tools/setup rust
	cargo fmt --all

.PHONY: requirements
requirements: ## Fix versions and hashes of tests/requirements.in anew.
	@tests/tools/requirements

.PHONY: clean
clean: ## Remove everything that was built or installed under target.
	rm -rf "$(CARGO_TARGET_DIR)/guests" "$(CARGO_TARGET_DIR)/venv"
	cargo clean
