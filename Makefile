# Everything here needs only Python 3.11 and make: the first target that runs makes .venv from the
# locked packages, and brings it up to date when the lock or pyproject.toml change.

PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
LOCK := infra/requirements.lock

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types imports bench lock clean

help:  ## show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 16

setup: $(READY)  ## install everything into .venv (the other targets do it by themselves)

$(READY): $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11, or name yours: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "1/3 making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "2/3 installing the locked packages (some minutes the first time: the largest has 250 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(LOCK)
	@echo "3/3 installing leadstream itself, editable"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## stream two example workspaces through a real broker and watch the scores
	@$(BIN)/leadstream demo

test: lint types imports  ## everything that must hold: style, types, imports, tests
	$(BIN)/python -m pytest

lint: $(READY)  ## style (ruff)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)  ## types (mypy --strict)
	$(BIN)/mypy

imports: $(READY)  ## which package may import which (import-linter)
	$(BIN)/lint-imports

bench: $(READY)  ## measure scoring and the peer job on this machine
	$(BIN)/leadstream bench scoring
	$(BIN)/leadstream bench peer-job

lock: $(READY)  ## choose the newest allowed versions anew (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --quiet --upgrade --output-file $(LOCK)

clean:  ## remove what was made, the broker's data too
	@[ ! -x $(BIN)/leadstream ] || [ ! -d .leadstream ] || $(BIN)/leadstream dev down
	rm -rf .venv .leadstream build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
