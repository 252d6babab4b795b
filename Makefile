# Every target sets up what it needs in .venv and can be run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup test check lint multi slow demo base clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $(READY)

# Two processes of one thread each: tests are many and small, and threads would only wait.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test: $(READY)
	$(PYTEST) --numprocesses=$(JOBS) --durations=10

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check: lint test

# The default suite checks shapes and types as it runs; here that would only double the time.
UNCHECKED := --override-ini=addopts='--strict-markers --import-mode=importlib'
multi: $(READY)
	$(PYTEST) $(UNCHECKED) -m multi --durations=10

slow: $(READY)
	$(PYTEST) -m slow --durations=10

demo: $(READY)
	$(BIN)/worldtune demo

# Pretrains anew the base that comes with the package; an hour on two cores.
base: $(READY)
	$(BIN)/python -m benchmarks.base

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
