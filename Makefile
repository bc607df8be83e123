# make demo   the main job on images that come with a dependency: compares six methods, writes report.html
# make test   all tests
# make lint   linters and the strict type checker
# Each sets up what it needs in .venv first, and is quick when run again.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Without an NVIDIA driver the version is pinned to one that has a CPU build.
CONSTRAINTS := $(if $(shell command -v nvidia-smi),,-c constraints/cpu.txt)
RAY := tests/grid/test_ray.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS)

.PHONY: demo test lint clean

demo: .venv/ready
	$(BIN)/underdog demo -o report.html

# Two processes of one thread each use two cores better than one process of two threads. Ray comes alone, and each cluster in a
# process of its own: a second one in the same process has been seen to wait for ever.
test: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal --ignore $(RAY)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(RAY) -k 'not cluster_of_our_own'
	OMP_NUM_THREADS=1 $(BIN)/pytest $(RAY) -k cluster_of_our_own

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints/cpu.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "underdog needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

.venv/ready-dev: .venv/ready
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
