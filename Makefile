# `make demo` and `make test` are all that a fresh machine needs; both fill .venv first.
# Options for the command go in ARGS: make demo ARGS="--task push"

PYTHON ?= $(shell command -v python3 || command -v python)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install docs demo test test-fast lint format format-check types wheel-check check clean

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## fill .venv with goalsight and the pinned versions it was tested with

$(INSTALLED): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "goalsight needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	"$(PYTHON)" -m venv .venv
	@echo "installing into .venv; the first time this takes minutes"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## watch video, learn Reach from goal images, judge, film (ARGS="--task push" for Push)
	$(BIN)/goalsight demo $(ARGS)

test: $(INSTALLED) ## run all tests
	$(BIN)/python -m pytest $(ARGS)

test-fast: $(INSTALLED) ## run the tests that take no minutes
	$(BIN)/python -m pytest -m 'not slow' $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .

format: $(INSTALLED) ## put the code into its format
	$(BIN)/ruff format .

format-check: $(INSTALLED)
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/python .ci/check_types.py

wheel-check: $(INSTALLED) ## build a wheel and try it in an empty environment
	$(BIN)/python .ci/check_wheel.py

check: lint format-check types ## lint, format and types

docs: $(INSTALLED) ## build the documentation into build/docs
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/make_pages.py $(ARGS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml
	@echo "build/docs/index.html"

clean: ## remove .venv and caches; runs/ stays
	rm -rf .venv build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
