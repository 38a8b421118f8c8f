# The commands of the project. Each command first installs its requirements: Debian packages (as root), and .venv.
# ARGS is passed to the program that the command runs: make test ARGS='-k firewall'

SHELL := /bin/bash
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# Tests with hosts mostly wait, so two test files run at the same time, each with its own lab.
AT_ONCE := $(if $(filter 0,$(shell id -u)),--numprocesses=2 --dist=loadfile)
SCRIPTS = $(shell find .ci tests -name '*.sh' -o -path .ci/run) debian/tests/transfer
ARGS :=

.PHONY: help demo test coverage unit integration bench deb deb-test docs lint prepare systems clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

demo: prepare  ## copy a directory tree between test hosts and verify the copies (root)
	@$(PYTHON) tests/demo.py $(ARGS)

test: systems  ## run all tests (without root: only the tests that need no root)
	@$(PYTEST) $(AT_ONCE) $(ARGS)

coverage: systems  ## run all tests and print their coverage; fails below the bounds (root)
	@$(PYTEST) $(AT_ONCE) --coverage $(ARGS)

unit: prepare  ## run the tests that need no test hosts
	@$(PYTEST) tests/unit $(ARGS)

integration: systems  ## run the tests that need test hosts (root)
	@$(PYTEST) tests/integration $(ARGS)

bench: prepare  ## measure the cost of encryption, compression and checksums (root)
	@$(PYTHON) -m tests.bench $(ARGS)

deb: prepare  ## build the Debian packages from the tracked files, into dist
	@tests/package/build.sh

deb-test: prepare  ## test the Debian packages in minimal systems of Debian 12 and 13 (root)
	@$(PYTEST) tests/package $(ARGS)

docs: prepare  ## build the manual in docs/_build: html/index.html, man/transfer.py.1
	@$(PYTHON) -m sphinx -q -W -b html docs docs/_build/html
	@$(PYTHON) -m sphinx -q -W -b man docs docs/_build/man

lint: prepare  ## check style, types, the order of imports, and shell scripts
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-logo --cache-dir .cache/import_linter
	@for script in $(SCRIPTS); do bash -n "$$script" || exit; done
	@$(PYTHON) -m tests.lint_host_scripts
	@shellcheck $(SCRIPTS)

prepare:
	@tests/setup/packages.sh
	@tests/setup/venv.sh

systems: prepare
	@tests/setup/systems.sh trixie >/dev/null || echo 'systems: the tests on hosts of Debian trixie are left out' >&2

clean:  ## remove all files that these commands created here, except results of the benchmark
	@rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .tox build dist docs/_build *.egg-info
	@rm -rf .pybuild debian/{.debhelper,debhelper-build-stamp,files,tmp,transferpy,transferpy-host}
	@rm -f debian/*{.debhelper*,.substvars}
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
