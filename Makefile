# `make run` serves the page, `make test` runs every check. Both start from nothing but Python 3.11 and make;
# apt supplies the two things Python cannot (venv support on bare Debian, Chromium for the browser tests).

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
CHROMIUM = command -v chromium || command -v chromium-browser || command -v google-chrome
PIP := $(BIN)/python -m pip --disable-pip-version-check install

# One thread a process; and compiled modules are kept, or each of some thirty processes would compile them anew.
TESTED := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

.DEFAULT_GOAL := help
.PHONY: help run install test check lint types pytest chromium quick format screenshot clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

run: $(VENV)/.serve  ## install what is needed, serve the page and open it (ARGS="--port 8000")
	$(BIN)/python app.py $(ARGS)

install: $(VENV)/.serve  ## install what the page and the command line need

test: check pytest  ## every check: style, types, unit, end-to-end and browser tests

check: lint types

lint: $(VENV)/.develop  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.develop  ## mypy, strict, on baa_core
	$(BIN)/mypy

pytest: $(VENV)/.develop chromium
	$(TESTED) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

quick: $(VENV)/.develop  ## style and the fast unit tests, for the inner loop (under two minutes on two cores)
	$(BIN)/ruff check .
	$(TESTED) $(BIN)/python -m pytest -m quick -n $(WORKERS) --dist worksteal -q $(ARGS) \
	  tests/unit tests/test_layers.py

format: $(VENV)/.develop  ## let ruff put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshot: $(VENV)/.develop chromium  ## draw docs/screenshot.png and docs/learn.png anew from drawn hands
	$(BIN)/python -m tests.e2e.screenshot

# The page's tests need a browser. Without one they are skipped with a reason, or fail if BAA_REQUIRE_BROWSER=1.
chromium:
	@$(CHROMIUM) >/dev/null || { echo "Installing Chromium for the browser tests"; \
	  $(APT) update -qq && $(APT) install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || { echo "Chromium could not be installed."; [ "$$BAA_REQUIRE_BROWSER" != 1 ]; }

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it, for example: make run PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { $(APT) update -qq && $(APT) install -y -qq --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)

# Stamps: a second run installs nothing unless a requirements file changed.
$(VENV)/.serve: requirements.txt | $(BIN)/python
	@echo "Installing packages (about 2 GB, one to a few minutes, only once)"
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.develop: requirements.txt requirements-train.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing packages for training and tests (only once)"
	$(PIP) -r requirements-dev.txt
	@touch $@

clean:  ## remove caches, keep the virtual environment
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
