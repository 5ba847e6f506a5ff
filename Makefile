# make          set up .venv and run the default experiment; again: go on where it was
# make test     set up and run linters, type checks and every test
# make lint     set up and run linters and type checks
# make docs     regenerate the generated documentation
# make gpu      one page about pretraining on this machine's GPU, in eight minutes; sets nothing up
# make help     this list
# Extra arguments for Snakemake or pytest: make ARGS="--configfile workflow/presets/smoke.yaml"
# Fewer cores than all: make CORES=2. Another Python: make PYTHON=/path/to/python3.11

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run help setup setup-dev lint test docs gpu

PYTHON ?= python3
CORES ?= all
ARGS ?=
PIP := .venv/bin/python -m pip --disable-pip-version-check
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Snakemake asks for the user's name, which a user id without an entry in passwd has not (containers run with --user).
export USER ?= $(shell id -un 2>/dev/null || id -u)
export HOME ?= $(CURDIR)

run: setup
	snakemake --cores $(CORES) all $(ARGS)

help:
	@sed -n 's/^# //p' $(MAKEFILE_LIST)

setup: .venv/pipeline.stamp

setup-dev: .venv/dev.stamp

# An environment cannot be copied or moved with its folder: it would run the Python and the source of where it was made.
ifeq (,$(shell grep -sF -- ' $(CURDIR)/.venv' .venv/pyvenv.cfg))
.PHONY: .venv/pipeline.stamp
CLEAR := --clear
endif

# One package of the lock has no wheel: it is built with the locked setuptools, not with what the index serves as such.
.venv/pipeline.stamp: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'ElectraLab needs Python 3.11 or newer, and $(PYTHON) is not: run make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(CLEAR) .venv
	@echo 'Installing the pinned packages into .venv, once: some minutes, 2 GB and more'
	$(PIP) install --quiet --only-binary :all: "$$(grep '^setuptools==' requirements.txt)"
	$(PIP) install --quiet --no-build-isolation --requirement requirements.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv/dev.stamp: requirements-dev.txt .venv/pipeline.stamp
	$(PIP) install --quiet --no-build-isolation --requirement requirements-dev.txt
	touch $@

lint: setup-dev
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	lint-imports
	snakemake --lint

test: setup-dev lint
	python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

docs: setup
	python -m electralab docs

# Needs torch, transformers, tokenizers, numpy, pydantic, pyyaml, safetensors and tqdm, whoever installed them.
gpu:
	PYTHONPATH=src $(firstword $(wildcard .venv/bin/python) $(PYTHON)) benchmarks/gpu.py $(ARGS)
