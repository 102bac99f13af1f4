# make compare   install into .venv, then make the tables and plots in reports/latest/
# make test      install into .venv, then run the tests
# make lint      check style, formatting and types
# make audit     look up the pinned dependencies in a database of known vulnerabilities
# make clean     remove .venv, caches and build products (reports are kept)
#
# ARGS adds arguments:   make compare ARGS="--datasets Set5 --solvers bicubic crnet-b-small"
#                        make test ARGS='-m "not slow"'   the tests that take seconds at most
# PYTHON is the interpreter that .venv is made with:   make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: compare test lint audit clean

compare: $(INSTALLED)
	$(BIN)/python -m benchmarks.compare --scales 2 3 4 $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32

audit: $(INSTALLED)
	$(BIN)/python -m benchmarks.audit $(ARGS)

# The stamp is written last, so that an interrupted installation is made again.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
	  { echo "Python 3.11 or newer is needed, but there is no '$(PYTHON)': name one with make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1): name another with make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test,cluster]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
