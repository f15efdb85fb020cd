# make demo    talk to a Python function in your browser
# make test    everything: checks, unit tests, real peers, a real browser
# make check   the quick half: ruff, mypy, import arrows

PYTHON ?= python3
VENV ?= .venv
PORT ?= 7860
BIN := $(VENV)/bin

.PHONY: demo test check format clean
.DEFAULT_GOAL := test

demo: $(VENV)/.core
	$(BIN)/fastrtc demo --port $(PORT)

test: check
	node --test tests/web/*.test.mjs
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		(echo "FastRTC needs Python 3.10 or newer; try make PYTHON=python3.11"; exit 1)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
