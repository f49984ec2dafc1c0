# Two commands matter: `make serve` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=
PYTEST_ARGS ?=
# Processes of pytest: one waits for a server's start while the other computes.
PROCESSES ?= 2

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -c constraints.txt
# Of pip's hundreds of lines the large downloads are shown; errors go to stderr untouched.
DOWNLOADS := { grep -E --line-buffered '^ *Downloading .*\([0-9.]+ [MG]B\)' | grep -v --line-buffered metadata || true; }

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---------------------------------------------------------------------------------- environment
# A stamp per set of packages: renewed when what is asked for changes.

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "inferd needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON) -m venv' is missing on this machine. Install it, then run make again:" >&2; \
	  echo "  sudo apt-get install -y $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; \
	  exit 1; }
	@echo "==> Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# torch first, alone: the largest download, and the version that everything else must fit.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	@echo "==> Installing $(TORCH) (the largest part; minutes on a slow line)"
	@$(PIP) $(TORCH) | $(DOWNLOADS)
	@touch $@

$(VENV)/.serve: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "==> Installing inferd"
	@$(PIP) -e '.[all,examples]' | $(DOWNLOADS)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "==> Installing inferd and what its tests need"
	@$(PIP) -e '.[dev]' | $(DOWNLOADS)
	@touch $@ $(VENV)/.serve

.PHONY: setup
setup: $(VENV)/.dev ## make .venv with everything the tests need

# -------------------------------------------------------------------------------------- serving

.PHONY: serve models
serve: $(VENV)/.serve models ## install, train the example models if absent, serve them (ARGS="--grpc 127.0.0.1:0")
	@$(BIN)/inferd serve $(ARGS)

models: $(VENV)/.serve ## train and export the example models that are absent
	@$(BIN)/python models/build.py

# -------------------------------------------------------------------------------------- testing

.PHONY: test lint types imports protos dockerfile test-unit test-all test-gpu bench format
test: lint types imports protos dockerfile test-all ## everything that CI runs

lint: $(VENV)/.dev ## ruff: rules and format
	@echo "==> ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.dev ## mypy, strict
	@echo "==> mypy"
	@$(BIN)/mypy

imports: $(VENV)/.dev ## import-linter: who may import whom
	@echo "==> import-linter"
	@$(BIN)/lint-imports --no-logo

protos: $(VENV)/.dev ## the generated code is what the .proto files say
	@echo "==> generated code"
	@$(BIN)/python scripts/generate_protos.py --check

dockerfile: $(VENV)/.dev ## hadolint
	@echo "==> hadolint"
	@$(BIN)/hadolint Dockerfile.gpu

test-all: $(VENV)/.dev models ## pytest; what needs a GPU is skipped where there is none (PYTEST_ARGS="-k digits")
	@echo "==> pytest"
	@$(BIN)/pytest -n $(PROCESSES) $(PYTEST_ARGS)

test-unit: $(VENV)/.dev ## pytest, the quick part
	@$(BIN)/pytest tests/unit $(PYTEST_ARGS)

test-gpu: $(VENV)/.dev ## pytest, what needs a CUDA device
	@$(BIN)/pytest tests/gpu -m gpu $(PYTEST_ARGS)

bench: $(VENV)/.dev ## rows per second and latency beside bare models and peers (ARGS="--help")
	@$(BIN)/python benchmarks/run.py $(ARGS)

format: $(VENV)/.dev ## ruff: mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: clean
clean: ## remove caches and built models; .venv stays
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	@find models -mindepth 2 -maxdepth 2 -type d -exec test -e '{}/model.pt2' -a -e '{}/../train.py' \; -exec rm -r '{}' +
	@find models -mindepth 2 -maxdepth 2 -type d -exec test -e '{}/weights.safetensors' -a -e '{}/../train.py' \; -exec sh -c 'rm "$$1"/weights.safetensors "$$1"/metrics.json' sh '{}' \;
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -r '{}' +
