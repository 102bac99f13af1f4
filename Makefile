# make compare   install into .venv, then make the tables and plots in reports/latest/
# make test      install into .venv, then run the tests
# make docs      install what the site needs, then build it in site/ (open site/index.html)
# make paper     install what the paper needs, then build paper/paper.pdf
# make release   build the package into dist/, check it, and say what is left to a person
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
SITE_TOOLS := .venv/.installed-docs
PAPER_TOOLS := .venv/.installed-paper

.PHONY: compare test docs docs-tools paper release lint audit clean

compare: $(INSTALLED)
	$(BIN)/python -m benchmarks.compare $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

docs: $(SITE_TOOLS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

docs-tools: $(SITE_TOOLS)

paper: $(PAPER_TOOLS)
	$(BIN)/python paper/build.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32

release: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[release]'
	$(BIN)/python -m benchmarks.release $(ARGS)

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

$(SITE_TOOLS): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

$(PAPER_TOOLS): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[paper]'
	@touch $@

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
