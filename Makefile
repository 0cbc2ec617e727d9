# Two commands are all a fresh machine needs: `make chat` and `make test`.
# Each installs the pinned set into .venv on its first run and starts in seconds afterwards.
.DEFAULT_GOAL := help
.PHONY: help chat test test-slow check format clean

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

chat: $(INSTALLED) ## Serve the video chat on 127.0.0.1:7860
	@$(BIN)/attune chat $(ARGS)

test: check ## Check the code and run the tests
	@$(BIN)/python -m pytest $(ARGS)

test-slow: $(INSTALLED_DEV) ## Run the tests that take minutes
	@$(BIN)/python -m pytest -m slow $(ARGS)

check: $(INSTALLED_DEV) ## Lint, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(VENV)/layers.log 2>&1 || { cat $(VENV)/layers.log; exit 1; }

format: $(INSTALLED_DEV) ## Format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist tests/screenshots

# The first of these that runs and fits; `make PYTHON=… chat` names another.
$(VENV)/pyvenv.cfg:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then exec "$$python" -m venv $(VENV); fi; done; \
	echo "Attune needs Python 3.11, 3.12 or 3.13, but found $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1); name one with make PYTHON=…" >&2; exit 2

$(INSTALLED): pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing the pinned packages into $(VENV) (about two minutes, once) …"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo "Installing the development packages …"
	@$(PIP) install --constraint constraints.txt --editable ".[dev,evaluation,functionals,landmarks,training]"
	@touch $@
