# `make` alone lists the targets. Everything runs in .venv, which `make install` makes and keeps up to date.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help need install swift run test test-all check format bench ui schedule foundation clean

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Tests measure numbers: one thread, so that two busy cores cannot make them twenty times slower.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

need: # what a machine must have before anything is installed; names what is missing and how to get it
	@command -v git >/dev/null || { echo "git is missing: install the package 'git' (Debian: apt install git)"; exit 2; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer (Debian: apt install python3 python3-venv), or say where it is: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), and 3.11 or newer is needed: install one, then make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv)"; exit 2; }

install: $(INSTALLED) ## make .venv and install everything, at the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@$(MAKE) need
	@[ -x $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV)
	@echo "install: torch first (the largest part), then the rest"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[pipeline,scenes,dev]'
	@touch $@

swift: install ## an S3 server for the tests, in an environment of its own; without it those against S3 are skipped
	@python -m tests.object_store

run: install ## media -> latents -> teacher -> students -> report -> registered models (dvc repro)
	@dvc repro
	@python -m flows.verify
	@python -m stages.summary

test: install ## the tests that CI runs
	@$(ONE_THREAD) python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: install ## every test, the slow ones too
	@$(ONE_THREAD) python -m pytest -n 2 --dist loadfile

check: install ## style, types and the order of layers
	@ruff check .
	@ruff format --check .
	@pyright --warnings
	@lint-imports --no-cache

format: install ## put the code into form
	@ruff check --fix .
	@ruff format .

bench: install ## measure the figures we promise (minutes); results in benchmarks/results
	@for script in benchmarks/[a-z]*.py; do name=$$(basename $$script .py); [ $$name = page ] || python -m benchmarks.$$name; done
	@python -m benchmarks.page

ui: install ## Prefect and MLflow pages and a worker on this machine, until Ctrl-C
	@exec python -m flows.ui

schedule: install ## put prefect.yaml's deployments on the server of `make ui`, or of PREFECT_API_URL
	@python -m flows.schedule

foundation: install ## make assets/miniature anew (half an hour of CPU; it ships with the project)
	@python -m stages.foundation --base assets/miniature
	@dvc commit --force foundation # DVC runs no frozen stage, whatever it is told

clean: ## remove work in progress (.work/), never outputs
	rm -rf .work
