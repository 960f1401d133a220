# langevin: one command each for the demo, the tests, the lint and the benchmarks.
# The first target that needs it makes .venv and installs the tested versions; later ones find the stamp and go on.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := langevin tests $(wildcard examples) $(wildcard benchmarks)

help:            ## this list
	@grep -E '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

install: $(STAMP)    ## the environment in .venv, with the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@set -e; python=""; for candidate in python3 python3.13 python3.12 python3.11 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "langevin needs Python 3.11 or newer; none was found on the PATH" >&2; exit 1; }; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "make: $$("$$python" --version) makes $(VENV)"; "$$python" -m venv --clear $(VENV); \
	fi; \
	echo "make: installing langevin and the versions of constraints.txt into $(VENV) (minutes, the first time)"; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	touch $@

demo: $(STAMP)    ## sample every shipped model and write one page, demo-report/index.html
	@$(BIN)/langevin demo --out demo-report

# pytest answers 5 when a selection is empty, which is not a failure
test: lint    ## lint, then the fast tests, then the slow ones
	@echo "make: fast tests"
	@$(BIN)/python -m pytest -m "not slow" -ra || [ $$? -eq 5 ]
	@echo "make: slow tests"
	@$(BIN)/python -m pytest -m slow -ra --durations=20 || [ $$? -eq 5 ]

lint: $(STAMP)    ## ruff check, ruff format --check, mypy
	@echo "make: ruff"
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@echo "make: mypy"
	@$(BIN)/mypy

bench: $(STAMP)    ## the benchmarks against peers
	@$(BIN)/python -m benchmarks

clean:           ## remove caches, builds and demo-report (keeps .venv and runs/)
	@rm -rf demo-report build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
