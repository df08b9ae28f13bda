# Every target makes its own .venv from a bare Python 3.11–3.13; `make demo` and `make test` are the first two to try.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made-from-pyproject
PYTEST := $(BIN)/python -m pytest
# The first interpreter that is new enough; PYTHON=… chooses another.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo "$$candidate" && break; done)
# Time limits of whoever runs this may be put in front: `make test LIMIT='timeout 300'`.
LIMIT  ?=
ARGS   ?=
SEED   ?= 1

.PHONY: demo test check format bench tokens screens fates mutants test-clients test-live test-fleet test-systemd overspend crash soak secrets dist venv clean help
.DEFAULT_GOAL := help

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## rent a VM on a local network, log in, watch its lease end
	@$(LIMIT) $(BIN)/aleph-agentd demo $(ARGS)

test: $(STAMP) ## every test that needs nothing but this machine
	$(LIMIT) $(PYTEST) -n 4 --dist loadscope tests --ignore=tests/clients --ignore=tests/live --ignore=tests/systemd $(ARGS)

check: $(STAMP) ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## what ruff can put right by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## how fast, as ratios to floors of the same run; ARGS=--no-limits only prints
	$(LIMIT) $(BIN)/python tests/bench/run.py $(ARGS)

tokens: $(STAMP) ## what the tool list costs a model, beside two other servers (npm)
	@$(LIMIT) $(BIN)/python tests/bench/tokens.py

screens: $(STAMP) ## the pictures in docs/screens, made anew by real programs (needs Chromium)
	$(LIMIT) $(BIN)/python tests/screens/make.py $(ARGS)

fates: $(STAMP) ## the daemon in simulated time under new fates, not the suite's; EXAMPLES=2000 of them
	HYPOTHESIS_PROFILE=long $(LIMIT) $(PYTEST) tests/unit/services/test_promises.py --show-capture=no $(ARGS)

mutants: $(STAMP) ## the test of the tests: break the daemon in known ways, and see the fates notice; ARGS="--only TEXT"
	$(LIMIT) $(BIN)/python tests/mutants/run.py $(ARGS)

crash: $(STAMP) ## kill a daemon at every derived fault point, and 200 times at random under load; ARGS=--seed=N
	$(LIMIT) $(BIN)/python tests/crash/run.py $(ARGS)

soak: $(STAMP) ## weeks of leases and faults in virtual time; SEED=…, ARGS="--days 5 --per-day 220"
	$(LIMIT) $(BIN)/python tests/soak/run.py --seed $(SEED) $(ARGS)

secrets: $(STAMP) ## the search for the key in what failures leave behind, with more of them than `make test` has; three minutes
	SECRETS_WHOLE=1 $(LIMIT) $(PYTEST) --timeout=300 tests/e2e/test_key_leaks.py -s $(ARGS)

test-clients: $(STAMP) ## the suite with real MCP clients (npm)
	$(LIMIT) $(PYTEST) tests/clients $(ARGS)

test-live: $(STAMP) ## spends credits on the network that ALEPH_AGENT_* points at
	ALEPH_AGENT_RUN_INTEGRATION=1 $(LIMIT) $(PYTEST) tests/live $(ARGS)

test-fleet: $(STAMP) ## what needs a PostgreSQL (Debian's package; else skipped)
	$(LIMIT) $(PYTEST) -m fleet -n 2 --dist loadscope tests/contract tests/e2e/test_postgres.py $(ARGS)

test-systemd: $(STAMP) ## the units under a real systemd of their own (root, on Linux; else skipped)
	$(LIMIT) tests/systemd/run tests/systemd/user $(ARGS)
	$(LIMIT) tests/systemd/run tests/systemd/system $(ARGS)
	$(LIMIT) tests/systemd/run tests/systemd/install $(ARGS)

overspend: $(STAMP) ## 200 rounds of many sessions at once against every limit, over restarts too
	OVERSPEND_ROUNDS=200 $(LIMIT) $(PYTEST) -n 2 tests/unit/services/test_overspend.py $(ARGS)

dist: $(STAMP) ## wheel, Claude Code plugin, Claude Desktop bundle, registry manifest, configurations
	rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/python clients/pack.py

venv: $(STAMP) ## only make the environment

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "aleph-agentd needs Python 3.11, 3.12 or 3.13, and none is on the PATH: install one, or say which with PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)" >&2; rm -rf $(VENV); exit 1; }
	@echo 'installing into $(VENV) (once, about a minute) …' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean: ## remove what was made, the environment too
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
