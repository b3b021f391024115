# Two commands are enough: `make demo` shows pearrt at work, `make test` proves it. Each makes .venv by itself.
PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
WHEELS := $(VENV)/wheels
SOURCES := pyproject.toml README.md LICENSE packaging/pearrt.1 packaging/desktop/pearrt.desktop $(shell find pearrt bootstrap -type f ! -name '*.pyc')

# Tests that need the machine for themselves (namespaces, bombs, the demo's minute) run one after another.
SERIAL := lab or alone
PYTEST := PEARRT_TEST_INSTALLED=1 $(BIN)/pytest --durations=10 --durations-min=2

.DEFAULT_GOAL := help
.PHONY: help demo test check bench dist fuzz docs clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 14

demo: $(VENV)/.wheel ## A whole network in one terminal: publish, sign, seed, run, update (loopback only)
	@$(BIN)/pearrt demo

test: $(VENV)/.dev ## Build the wheel, install it, run all tests against it
	@failed=0; \
	echo "== Tests side by side"; $(PYTEST) -n 2 --dist loadfile -m "not ($(SERIAL))" tests || failed=1; \
	echo "== Tests one after another: $(SERIAL)"; $(PYTEST) -m "$(SERIAL)" tests || [ $$? -eq 5 -a -z "$$CI" ] || failed=1; \
	exit $$failed

check: $(VENV)/.dev ## Lint, formatting, types, layers
	@failed=0; \
	for each in "ruff check ." "ruff format --check ." mypy lint-imports; do \
	  echo "== $$each"; $(BIN)/$$each || failed=1; \
	done; exit $$failed

bench: $(VENV)/.dev ## Measure, each figure beside the programs it is compared with
	@for each in "transfer.py file" peer_throughput.py start.py sandbox_start.py cold_start.py dht.py; do \
	  echo "== $$each"; $(BIN)/python benchmarks/$$each || failed=1; \
	done; exit $${failed:-0}

fuzz: $(VENV)/.dev ## Fuzz the parsers: make fuzz MINUTES=10 (one process, lowest priority)
	@$(PIP) install atheris
	$(BIN)/python -m tests.fuzz.run --minutes $(MINUTES)

dist: $(VENV)/.wheel ## Build what this machine can: wheel, sdist, pyz (RUNTIME_LINK=…), deb, one-file program
	$(BIN)/python packaging/dist.py

docs: $(VENV)/.wheel ## Generate docs/reference and the man page from the code
	$(BIN)/python docs/generate.py

clean: ## Remove what make and the tools made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pearrt needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# What is installed is the wheel, never the source tree: a file missing from the wheel is found by the tests.
$(VENV)/.wheel: $(SOURCES) | $(VENV)/.made
	@echo "Building and installing the wheel"
	@rm -rf $(WHEELS)
	@$(PIP) wheel --no-deps -w $(WHEELS) .
	@$(PIP) install $(WHEELS)/*.whl
	@$(PIP) install --force-reinstall --no-deps $(WHEELS)/*.whl
	@touch $@

$(VENV)/.dev: $(VENV)/.wheel tests/support/packages.txt
	@echo "Installing what the tests need"
	@$(PIP) install "$$(ls $(WHEELS)/*.whl)[dev]"
	@$(BIN)/python tests/support/guard.py >/dev/null
	@$(BIN)/python packaging/runtime_release.py --fetch-only --variant this || echo "Tests of runtime bundles are skipped"
	@$(PIP) download --only-binary=:all: -d $(VENV)/packages -r tests/support/packages.txt
	@touch $@
