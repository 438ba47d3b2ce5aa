# `make test` checks everything, `make quick` in under two minutes what can be checked in that time.
# The first run makes .venv from requirements/dev.txt (tools/venv); PYTHON=... names another interpreter.

SHELL := bash
BIN := .venv/bin
CODE := $(wildcard src tests tools bench rescue.py)
WORKERS ?= auto
# More arguments for pytest: make test PYTEST='-k chunker'
PYTEST ?=
RUN_TESTS := $(BIN)/pytest -n $(WORKERS) --dist loadgroup

.PHONY: help test quick checks lint types floors fix demo bench screenshots lock venv clean
.PHONY: proof proof-crash proof-damage proof-fuzz proof-model proof-moments
.DEFAULT_GOAL := help

help:
	@echo "make test    everything: lint, types, floors, all tests (as root it installs Debian packages they need)"
	@echo "make quick   lint, types, floors, and the fast tests"
	@echo "make fix     format, and mend what lint can mend"
	@echo "make demo    protect something, damage it, bring it back"
	@echo "make proof   what takes longer: power cuts, damage, strange input, every state of the models (docs/proof.md)"
	@echo "make bench   measure beside other tools (ARGS=--help)"
	@echo "make screenshots  pictures of the console, docs/screens/"
	@echo "make lock    write requirements/*.txt anew (ARGS=--upgrade takes the newest versions)"
	@echo "make lint | types | floors | clean"

test: packages checks
	HYPOTHESIS_PROFILE=ci $(RUN_TESTS) $(PYTEST)

quick: checks
	HYPOTHESIS_PROFILE=quick $(RUN_TESTS) -m "not slow" \
	    $(wildcard tests/unit tests/property tests/contract tests/format tests/house) $(PYTEST)

checks: lint types floors

lint: venv
	$(BIN)/ruff check --quiet $(CODE)
	$(BIN)/ruff format --quiet --check $(CODE) || { echo "not formatted: make fix"; exit 1; }

types: venv
	$(BIN)/pyright

floors: venv
	$(BIN)/lint-imports --no-cache

fix: venv
	$(BIN)/ruff check --quiet --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

demo: venv
	$(BIN)/python tools/demo.py

bench: venv
	$(BIN)/python -m bench.run $(ARGS)

# What `make test` only samples, in full (docs/proof.md).
proof: proof-model proof-crash proof-damage proof-fuzz proof-moments

# Any moment of changing folders on ext4, XFS and btrfs comes back.
proof-moments: venv packages
	TMPDIR=$${TMPDIR:-/dev/shm} $(BIN)/python -m tests.proof.moments --runs 3000 $(ARGS)

proof-model: venv packages
	$(BIN)/python -m tests.model.machine

# More states: make proof-crash STATES=1000000
STATES ?= 100000
proof-crash: venv
	$(BIN)/python -m tests.fault.crash.run --states $(STATES) $(ARGS)

# PROOF_DAMAGES=… tries more or fewer; SEED=… other ones.
PROOF_DAMAGES ?= 5000
SEED ?= 0
proof-damage: venv
	KNOWNGOOD_DAMAGES=$(PROOF_DAMAGES) KNOWNGOOD_DAMAGE_SEED=$(SEED) \
	    $(RUN_TESTS) -p no:cacheprovider --timeout 3600 tests/fault/test_damage.py

# SECONDS_EACH=3600 takes an hour for each parser
SECONDS_EACH ?= 20
proof-fuzz: venv
	FUZZ_SECONDS=$(SECONDS_EACH) $(RUN_TESTS) tests/fuzz $(PYTEST)

# Pictures of the console for the README: docs/screens/.
screenshots: venv packages
	$(BIN)/python -m tests.browser.screens

lock: venv
	tools/lock $(ARGS)

.PHONY: packages
packages:
	@tools/system-packages

venv:
	@tools/venv

clean:
	rm -rf .venv .venv.lock .coverage* .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
