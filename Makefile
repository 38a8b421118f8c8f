# The commands of the project. Each first installs what it needs: Debian packages (as root), and .venv.
# ARGS goes to the program that is run: make test ARGS='-k firewall'

SHELL := /bin/bash
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# Tests that need hosts mostly wait for them, so two files run at once, each in a lab of its own.
AT_ONCE := $(if $(filter 0,$(shell id -u)),--numprocesses=2 --dist=loadfile)
SCRIPTS = $(shell find .ci tests transferpy -name '*.sh' -o -path .ci/run) debian/tests/transfer
ARGS :=

.PHONY: help demo test unit integration bench deb deb-test docs lint prepare clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

demo: prepare  ## copy a real tree between three hosts made for it, and show what happened (root)
	@$(PYTHON) tests/demo.py $(ARGS)

test: prepare  ## run every test (without root: those that need none)
	@$(PYTEST) $(AT_ONCE) $(ARGS)

unit: prepare  ## run the tests that need no hosts
	@$(PYTEST) tests/unit $(ARGS)

integration: prepare  ## run the tests on hosts made for them (root)
	@$(PYTEST) tests/integration $(ARGS)

bench: prepare  ## measure what encryption, compression and checksums cost (root)
	@$(PYTHON) -m tests.bench $(ARGS)

deb: prepare  ## build the Debian packages of what is committed or changed here, into dist
	@tests/package/build.sh

deb-test: prepare  ## build, install, use and remove them in minimal systems of Debian 12 and 13 (root)
	@$(PYTEST) tests/package $(ARGS)

docs: prepare  ## build the manual in docs/_build: html/index.html, man/transfer.py.1
	@$(PYTHON) -m sphinx -q -W -b html docs docs/_build/html
	@$(PYTHON) -m sphinx -q -W -b man docs docs/_build/man

lint: prepare  ## check style, types and shell scripts
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@for script in $(SCRIPTS); do bash -n "$$script" || exit; done
	@for program in transferpy/host/*.pl; do perl -cw "$$program" 2>/dev/null || perl -cw "$$program" || exit; done
	@shellcheck $(SCRIPTS)

prepare:
	@tests/setup/packages.sh
	@tests/setup/venv.sh

clean:  ## remove what these commands made here; results of the benchmark stay
	@rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .tox build dist docs/_build *.egg-info
	@rm -rf .pybuild debian/{.debhelper,debhelper-build-stamp,files,tmp,transferpy,transferpy-host}
	@rm -f debian/*{.debhelper*,.substvars}
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
