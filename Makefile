# Everything a fresh machine with Python 3.11 and make needs: `make demo`, `make test`.
PYTHON ?= python3.11
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: help install check test demo bench-spine bench-networks format clean

help:           ## Show these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(VENV)/.ready  ## Make the virtual environment and install Striate into it

demo: install   ## The whole path on a phantom cohort; ends by printing where the report is
	$(BIN)/striate demo --out $(OUT)

test: install   ## Run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations=15

check: install  ## Lint, types and the layers of the house
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/ruff format --check src tests tools benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code
	$(BIN)/ruff check --fix src tests tools benchmarks
	$(BIN)/ruff format src tests tools benchmarks

bench-spine: install  ## Measure what docs/benchmarks.md holds about the spine
	$(BIN)/python benchmarks/spine.py

bench-networks: install  ## Measure what docs/benchmarks.md holds about the networks
	$(BIN)/python benchmarks/networks.py

clean:          ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis
