# Every habit of the repository. `make` or `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
MEMBERS := libs/events libs/kit \
           services/intake services/dispatch services/monitoring services/quality services/risk \
           console
PYTEST := $(BIN)/python -m pytest
# Files side by side; tests of one file share what they have set up, and the longest files come
# first (tests/conftest.py). What is measured has the machine to itself.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
           --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
           --custom-compile-command "make lock"
# Of all faults, those that fit into a quarter of an hour of two cores with everything else.
FAULTS_IN_SHORT := tests/chaos/kills \
                   $(patsubst %,tests/chaos/test_%.py,deadlines poison read_models restore)
# What `make lint`, `fmt` and `types` look at; a folder that does not exist yet is left out.
SOURCES := $(wildcard libs services console tests tools bench)

.PHONY: help setup demo up test performance faults prerequisites lint fmt types imports tidy docs \
        unit component contract system simulation simulate kills chaos failovers fuzz bench lock \
        clean

help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# --- set up and run -------------------------------------------------------------------------

setup: $(STAMP)  ## create .venv from the hashed lock; does nothing when nothing changed

$(STAMP): requirements/dev.txt $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "make: needs Python 3.11 with venv: apt-get install python3.11 python3.11-venv" \
	            "(or name another: make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo "make: creating .venv"; $(PYTHON) -m venv .venv; }
	@echo "make: installing the locked requirements and the members"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $(STAMP)

demo: setup  ## import the real sample, print its KPIs, serve; ONCE=1: only print
	@$(BIN)/casebook demo $(if $(ONCE),--once)

up: setup  ## run the whole platform in one process on port 8080
	@$(BIN)/casebook up

bench: prerequisites setup  ## throughput and latency on this machine, beside limits and peers
	@$(BIN)/casebook bench

# --- check ----------------------------------------------------------------------------------

test: prerequisites setup lint types imports tidy  ## lint, types, tidy, all tests but long ones
	@failed=0; \
	$(PYTEST) $(SIDE_BY_SIDE) -m "not performance" \
	  tests/system $(FAULTS_IN_SHORT) tests/fuzz tests/simulation tests/component tests/contract \
	  tests/unit tests/tidy || failed=1; \
	$(PYTEST) -m performance tests/system || failed=1; \
	exit $$failed  # a failure hides no other

performance: prerequisites setup  ## every bench, in small: that it runs and tells its ratios
	@$(PYTEST) tests/performance

faults: prerequisites setup  ## all faults in short: these, cuts, zombies, brokers that fail over
	@$(PYTEST) $(SIDE_BY_SIDE) --write-results docs/results/faults.json tests/chaos

# Kafka and PostgreSQL 15 for the tests come as Java archives where nothing better is at hand.
prerequisites:
	@kafka="$${CASEBOOK_TEST_KAFKA:-}"; postgres="$${CASEBOOK_TEST_DATABASE_15:-}"; \
	if docker info >/dev/null 2>&1; then kafka=docker; fi; \
	if [ -x /usr/lib/postgresql/15/bin/postgres ]; then postgres=system; fi; \
	if [ -n "$$kafka" ] && [ -n "$$postgres" ]; then exit 0; fi; \
	java="$${JAVA_HOME:+$$JAVA_HOME/bin/}java"; \
	major=$$("$$java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n 1 || true); \
	if ! command -v mvn >/dev/null || [ "$${major:-0}" -lt 17 ]; then \
	  echo "make test: needs Java 17 or newer and Maven:" \
	       "apt-get install --yes --no-install-recommends openjdk-17-jre-headless maven" >&2; \
	  exit 1; \
	fi

lint: setup  ## ruff: rules and format
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

fmt: setup  ## format, and mend what ruff can mend
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

types: setup  ## basedpyright: strict in libs and services, standard elsewhere
	@$(BIN)/basedpyright

imports: setup  ## import-linter: who may import whom
	@$(BIN)/lint-imports --no-logo

tidy: setup  ## the style that no linter knows (also a test)
	@$(BIN)/python tools/tidy.py

unit: setup  ## tests of pure rules
	@$(PYTEST) tests/unit

component: prerequisites setup  ## tests of the kit and of one service, on real servers
	@$(PYTEST) tests/component

contract: setup  ## tests of schemas, examples, catalogue and published interfaces
	@$(PYTEST) tests/contract

system: prerequisites setup  ## tests of the whole platform and of real Kafka
	@$(PYTEST) tests/system

kills: prerequisites setup  ## kill -9 of real processes under load, in short
	@$(PYTEST) tests/chaos/kills

chaos: prerequisites setup  ## the same for long, added up in docs/results; CYCLES= SECONDS= SEED=
	@$(BIN)/python -m tests.chaos.kills $(if $(CYCLES),--cycles $(CYCLES)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

failovers: prerequisites setup  ## Kafka brokers that fail under load, for long; CYCLES= SEED=
	@$(BIN)/python -m tests.chaos.failovers $(if $(CYCLES),--cycles $(CYCLES)) \
	  $(if $(SEED),--seed $(SEED))

fuzz: setup  ## hostile input for hours, cumulative in docs/results; CASES=500000 SECONDS=3600
	@$(BIN)/python -W ignore -m tests.fuzz.run $(if $(CASES),--cases $(CASES)) \
	  $(if $(SECONDS),--seconds $(SECONDS))

simulation: setup  ## a thousand simulated schedules, and the planted bugs
	@$(PYTEST) tests/simulation

SEEDS ?= 1..1000
JOBS ?= 1
simulate: setup  ## run schedules on and on: SEEDS=1..100000 JOBS=1; one with its steps: TRACE=1
	@$(BIN)/python -m tests.simulation.run $(SEEDS) --jobs $(JOBS) $(if $(TRACE),--trace)

# --- keep up --------------------------------------------------------------------------------

docs: setup  ## write the generated pages and schemas anew (a test fails while they are stale)
	@$(BIN)/python tools/catalog.py write

lock: setup  ## resolve requirements/*.in to the newest versions, with hashes
	@$(COMPILE) requirements/runtime.in --output-file requirements/runtime.txt
	@$(COMPILE) requirements/dev.in --output-file requirements/dev.txt \
	  --constraints requirements/runtime.txt
	@$(COMPILE) requirements/bench.in --output-file requirements/bench.txt

clean:  ## remove .venv, caches and build products; keeps .casebook, where the data is
	@rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist .coverage
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
