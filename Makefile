# Two commands on a machine with Python 3.11+, pip and make: `make demo` and `make test`. The rest is for developers.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# One torch thread for each test process: the cores are shared out among the processes already.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-slow lint bench bench-train bench-decode bench-gpu clean

help:
	@echo "make demo       builds .venv, trains on the built-in pronunciations, shows scores and samples"
	@echo "make test       builds .venv, runs the tests"
	@echo "make coverage   the same, and reports statement coverage of src/, in twice the time"
	@echo "make test-slow  runs the tests that take minutes"
	@echo "make lint       checks format (ruff), style (ruff) and types (mypy)"
	@echo "make bench      times the start of each command, a check of a million pairs"
	@echo "make bench-train  installs the peers, times a training step beside theirs, ragged text, attention: half an hour"
	@echo "make bench-decode  installs the peers, times decoding beside them: an hour"
	@echo "make bench-gpu  times training and decoding on a GPU (CUDA)"
	@echo "make clean      removes .venv and caches; leaves runs/ alone"
	@echo "Another Python: make PYTHON=python3.12 demo"

demo: .venv/.ready
	$(BIN)/regard demo

test: .venv/.ready
	$(PYTEST) -m "not slow"

# Counting doubles the time of the tests, so it is a target of its own.
coverage: .venv/.ready
	$(PYTEST) -m "not slow" --cov=regard --cov-report=term:skip-covered --cov-fail-under=90

# Unchecked calls: what these tests time is what a user gets.
test-slow: .venv/.ready
	JAXTYPING_DISABLE=1 $(PYTEST) -m slow --timeout=3600

lint: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.ready
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/check.py

bench-train: .venv/.peers
	$(BIN)/python benchmarks/train.py

bench-decode: .venv/.peers
	$(BIN)/python benchmarks/decode.py

bench-gpu: .venv/.ready
	$(BIN)/python benchmarks/gpu.py --json bench-gpu.json

clean:
	rm -rf .venv .coverage .coverage.* htmlcov dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The two variables pin the build backend too, for old and new versions of pip; `-c` alone pins only what is installed.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "regard needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 || true)" >&2; \
	  echo "  fix: name another one, as in  make PYTHON=python3.12 demo" >&2; exit 2; }
	@echo "Installing into .venv: once, a few minutes, most of them for torch ..."
	@$(PYTHON) -m venv .venv
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	  $(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "Installed."

.venv/.peers: .venv/.ready
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@touch $@
