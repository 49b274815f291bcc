# Everything a person types. `make` alone lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
STAMPS := .venv/.done
# Tests of one file share a worker, and with it what the file sets up; the order stays, fast first.
PYTEST := $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --benchmark-disable
ARGS ?=

.PHONY: help setup setup-demo demo test test-long check format lint types contracts bench lock clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup-demo ## run the demo district; ARGS="--headless ..." is passed on
	@$(BIN)/wattloom demo $(ARGS)

test: setup ## set everything up and run the tests; ARGS is passed to pytest
	@$(PYTEST) $(ARGS)

test-long: setup ## the same tests with full counts, and the long ones (not part of check)
	@WATTLOOM_LONG=1 $(PYTEST) -m 'long or not long' $(ARGS)

check: lint types contracts test ## format, lint, types, contracts, then the tests

format: $(STAMPS)/python-test ## put the code into its format and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lint: $(STAMPS)/python-test ## is the code formatted and free of known mistakes?
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(STAMPS)/python-test ## do the types hold? (mypy, strict)
	@$(BIN)/mypy

contracts: $(STAMPS)/python-test ## do imports only go down the stairs?
	@$(BIN)/lint-imports --no-logo

bench: setup $(STAMPS)/python-bench ## the benchmarks, with their ratios
	@$(BIN)/pytest -q -n 0 --benchmark-columns=median,iqr,ops,rounds benchmarks/bench_*.py $(ARGS)

lock: $(STAMPS)/python-test ## write the lock files anew from pyproject.toml (needs uv)
	@scripts/lock.sh

setup: $(STAMPS)/python-test $(STAMPS)/assets $(STAMPS)/system ## set up for demo and tests

setup-demo: $(STAMPS)/python-demo $(STAMPS)/assets ## set up for the demo alone

clean: ## remove everything that the other targets can make again (never data/)
	@rm -rf .venv node_modules web/static/vendor build dist .benchmarks
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/python-demo: requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh python demo
	@mkdir -p $(@D) && touch $@

# What the tests need includes what the demo needs.
$(STAMPS)/python-test: requirements-dev.lock requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh python test
	@mkdir -p $(@D) && touch $(@D)/python-demo $@

$(STAMPS)/python-bench: requirements-bench.lock pyproject.toml scripts/setup.sh | $(STAMPS)/python-test
	@scripts/setup.sh python bench
	@mkdir -p $(@D) && touch $@

$(STAMPS)/assets: package.json package-lock.json $(wildcard scripts/vendor_assets.*) scripts/setup.sh
	@mkdir -p $(@D)
	@scripts/setup.sh assets
	@touch $@

$(STAMPS)/system: scripts/setup.sh
	@mkdir -p $(@D)
	@scripts/setup.sh system
	@touch $@
