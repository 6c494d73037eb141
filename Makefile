# Two doors: `make run` and `make test`. The others are for those who work on Adea itself; `make help` lists all.
# Everything is compiled in one profile (release), because RocksDB takes a quarter of an hour and is built once.
# Work is in scripts/ and xtask/; this file only names it.

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
ARGS ?=
ROUNDS ?= 200
SECONDS_EACH ?= 60

.DEFAULT_GOAL := help
.PHONY: run test build crash fuzz bench fmt compat help

run: build ## Build and start the server on 127.0.0.1:5984 with ./adea-data (ARGS="--listen 0.0.0.0:5984 …")
	@exec $(TARGET)/release/adea $(ARGS)

test: ## Format, lints, Rust tests, then real clients against the built server; installs what is missing
	@scripts/setup test
	@scripts/test

build:
	@scripts/setup build
	@cargo build --release --bin adea

compat: ## Only the real clients: PouchDB, a browser, nano, RxDB, hostile ones (ARGS="nano rxdb" for some)
	@scripts/setup test
	@cargo build --release --bin adea
	@scripts/compat $(ARGS)

crash: ## All rounds of kill -9 under load, and faults of the disk (ROUNDS=200)
	@scripts/setup build
	@ADEA_CRASH_ROUNDS=$(ROUNDS) cargo test --release -p adea --test it crash -- --nocapture

fuzz: ## Fuzz each target for a while (SECONDS_EACH=60); installs cargo-fuzz if it is missing
	@scripts/setup build
	@scripts/fuzz $(SECONDS_EACH)

bench: build ## Start a server with an empty directory and measure it (ARGS are passed to `adea bench`)
	@scripts/bench $(ARGS)

fmt: ## Format the Rust code
	@cargo fmt --all

help: ## Show this list
	@echo 'make TARGET, where TARGET is'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 10
