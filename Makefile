# Holdfast. `make` alone lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# hundreds of processes begin in a run of the tests, and each would compile all it imports
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test soak check bench format lock openapi clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime  ## race, complete, audit and win an opening on an embedded Postgres, then keep serving
	@$(BIN)/holdfast demo

test: $(VENV)/.dev  ## run the whole test suite on an embedded Postgres
	@$(BIN)/python -m pytest $(ARGS)

soak: $(VENV)/.dev  ## play at random against the promises for half an hour, and kill -9 runs a thousand times
	@$(BIN)/python -m pytest tests/soak --timeout 900 $(ARGS)

check: $(VENV)/.dev  ## format, lint, types, import contracts, migration safety
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m migrations.lint

bench: $(VENV)/.dev  ## figures as ratios, measured in one run against pgbench and against other job queues; openings
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.queues
	@$(BIN)/python -m benchmarks.prebookings
	@$(BIN)/python -m benchmarks.audit

format: $(VENV)/.dev  ## write the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

openapi: $(VENV)/.dev  ## write openapi.json
	@$(BIN)/holdfast openapi > openapi.json

lock:  ## renew both lock files (needs uv on PATH)
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --group build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --group build --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:  ## remove what the targets above made
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@echo "» making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Holdfast needs Python >= 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "could not make a venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.runtime: $(BIN)/python requirements.lock pyproject.toml
	@echo "» installing the locked dependencies (about half a minute, once)"
	@$(PIP) install --quiet --no-compile --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "» installing the locked development tools"
	@$(PIP) install --quiet --no-compile --require-hashes -r requirements-dev.lock
	@touch $@
