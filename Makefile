# SPDX-License-Identifier: GPL-2.0-or-later
# make serve: share a demonstration folder.  make test: run the tests.  Both set up what they need first.

SHELL := /bin/sh
.DEFAULT_GOAL := build
VENV := .venv
PYTEST_ARGS ?=

export PYTHONUTF8 := 1

.PHONY: build setup-test serve test lint clean

build:
	@sh scripts/setup.sh serve

setup-test:
	@sh scripts/setup.sh test

serve: build
	@exec $(VENV)/bin/python -m ksmbd.tools.serve

test: setup-test
	@exec $(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: setup-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) var build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
