# Every target works on a fresh clone with Python 3.11 and pip; nothing is installed outside .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What `make newer-python` tests with: a version or a path.
NEWER ?= 3.12
UV_VERSION := 0.13.9
export DO_NOT_TRACK := 1
# The tests' folders lie in memory where it has 6 GB to spare: they commit to small databases all the time, and wait for no disk there.
IN_MEMORY := $(shell test "$$(df --output=avail --block-size=G /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9)0" -ge 60 \
	&& echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
# Every run is a process of its own: let the first keep what it compiled, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo ui dashboard mlflow screenshots test test-long lint audit format bench bench-forecast ledger-histories lock newest newer-python image-test compose-test policy storm move-test wheel-test up down docs clean
.DEFAULT_GOAL := help

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
		|| { echo "error: stockcast needs Python 3.11 or 3.12; name one with PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

setup: $(VENV)/.installed  ## Make .venv with everything, from the lock file

demo screenshots: export STOCKCAST_SOURCE ?= sample

demo: setup  ## Run the whole graph on the bundled history and print the forecasts
	@$(BIN)/stockcast demo

ui: setup  ## The Dagster UI on the same data, http://127.0.0.1:3000
	@$(BIN)/stockcast ui

dashboard: setup  ## The dashboard on the same data, http://127.0.0.1:8501
	@$(BIN)/stockcast dashboard

mlflow: setup  ## The MLflow UI on the same models, http://127.0.0.1:5000
	@$(BIN)/stockcast mlflow

screenshots: demo  ## Take the pictures of README (needs Chromium)
	$(BIN)/python docs/screenshots.py

test: setup lint  ## Every test, after lint and type checks
	# Four processes on two cores: tests wait for a server or a disk a third of the time. One file stays in one process, with its servers.
	# In their order: sorted by their number of tests, the files with a few long ones would come last and leave a process idle.
	$(IN_MEMORY) $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

test-long: setup  ## The tests that take minutes, and those with a short and a long form in the long one (an hour)
	$(IN_MEMORY) $(BIN)/pytest -n 2 --dist loadfile -m long
	$(IN_MEMORY) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --long -m "long or not long" stockcast_assets_tests/warehouse/test_histories_duckdb.py \
		stockcast_assets_tests/warehouse/test_histories_bigquery.py stockcast_assets_tests/integration/test_quarter.py

# Strict: a link or a docstring that the site cannot show is an error.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

lint: setup  ## ruff, mypy, the import contract, the declared packages, bandit, a search of the history for secrets, and the docs' site
	# The types take as long as all the rest, beside them.
	@$(BIN)/mypy & types=$$!; \
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/lint-imports && $(BIN)/deptry stockcast_assets \
		&& $(BIN)/bandit --quiet --recursive --configfile pyproject.toml stockcast_assets \
		&& $(BIN)/python .ci/secrets_in_history.py && $(SITE); \
	rest=$$?; wait $$types && exit $$rest

audit: setup  ## Ask the Python advisory database about every locked package (needs its network)
	# Strict: a package that no service answers for is an error by name, not a silent pass.
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement requirements.lock

format: setup  ## Let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## Every benchmark
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-forecast: setup  ## The walk-forward evaluation of docs/forecasting.md
	$(BIN)/python bench/forecast.py --with-statistical
	$(BIN)/python bench/forecast.py --with-statistical --universe

ledger-histories: setup  ## A thousand random steps of the ledger on each warehouse (half an hour)
	STOCKCAST_LEDGER_STEPS=1000 $(BIN)/pytest stockcast_assets_tests/warehouse/test_published.py -k history

COMPILE := VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --upgrade
OF_IMAGE := $(COMPILE) pyproject.toml --extra deploy --constraint

lock: setup  ## Resolve the dependencies again: everything, and what the images install
	$(COMPILE) pyproject.toml --extra deploy --group dev --output-file requirements.lock
	# What the images install: of the same versions those without which nothing runs, and the same without TensorFlow.
	$(OF_IMAGE) requirements.lock --output-file requirements-runtime.lock
	$(OF_IMAGE) requirements-runtime.lock --override deploy/image/services.txt --output-file requirements-services.lock
	printf 'cyclonedx-bom\nuv==$(UV_VERSION)\n' | $(COMPILE) - --output-file deploy/image/tools.lock

newest: setup  ## Without the lock, with the newest Dagster that installs: are its private names where they were?
	$(BIN)/uv venv --quiet --clear .venv-newest --python $(BIN)/python
	$(BIN)/uv pip install --quiet --python .venv-newest --override .ci/newest-dagster.txt --group dev \
		--requirements packaging/warehouse/pyproject.toml alembic dagster-celery dagster-webserver graphql-core pyyaml starlette uvicorn
	$(BIN)/uv pip install --quiet --python .venv-newest --no-deps --editable .
	$(IN_MEMORY) .venv-newest/bin/pytest stockcast_assets_tests/test_dagster_private.py stockcast_assets_tests/test_event_log.py \
		stockcast_assets_tests/test_launcher.py stockcast_assets_tests/test_wiring.py

newer-python: setup  ## From the lock on Python 3.12: does it load, and do its quick tests pass?
	$(BIN)/uv venv --quiet --clear .venv-3.12 --python $(NEWER)
	$(BIN)/uv pip sync --quiet --require-hashes --python .venv-3.12 requirements.lock
	$(BIN)/uv pip install --quiet --python .venv-3.12 --no-deps --editable .
	# How light it is on homes of every kind depends on no Python.
	$(IN_MEMORY) .venv-3.12/bin/pytest -n 2 stockcast_assets_tests/test_light.py::test_the_definitions_load_none_of_the_heavy_libraries \
		stockcast_assets_tests/test_wiring.py stockcast_assets_tests/cli stockcast_assets_tests/warehouse/test_frames.py \
		stockcast_assets_tests/forecasting/test_baselines.py

ENGINE ?= $(if $(shell command -v docker),docker,podman)
# What runs deploy/compose.yaml, such as COMPOSE=podman-compose.
COMPOSE ?= $(ENGINE) compose

up:  ## The whole platform on this machine, behind a login: https://dagster.localhost (Docker or podman)
	@test -e deploy/.env || cp deploy/.env.example deploy/.env
	@sh deploy/secrets.sh $(ENGINE)
	cd deploy && $(COMPOSE) build && $(COMPOSE) up --detach

down:  ## Stop it; what is stored stays
	cd deploy && $(COMPOSE) down

image-test: setup  ## Build the images without a registry, bound their sizes, run them (Debian, root; a quarter of an hour)
	$(BIN)/pytest long_tests/test_image.py -s

storm: setup  ## Kill parts of a deployment of real servers, 34 times, during backfills on two workers (half an hour)
	$(BIN)/pytest long_tests/test_storm.py -s --timeout 7200

compose-test: setup  ## Run deploy/compose.yaml without a registry (Debian, root; half an hour)
	$(BIN)/pytest long_tests/test_compose.py -s --timeout 2400

move-test: setup  ## Move a home to PostgreSQL, a BigQuery emulator and a bucket, and go on there (minutes)
	$(BIN)/pytest long_tests/test_moved.py -s

policy: setup  ## What checkov finds in the cloud's files (in an environment of its own)
	$(BIN)/uv venv --quiet --clear .venv-policy --python $(BIN)/python
	$(BIN)/uv pip install --quiet --python .venv-policy --requirement .ci/policy.txt
	.venv-policy/bin/checkov --config-file deploy/.checkov.yaml

wheel-test: setup  ## Install the wheel into an empty environment, run README's commands and a person's path in an empty folder (minutes)
	$(BIN)/pytest long_tests/test_wheel.py long_tests/test_person.py -s

docs: setup  ## The documentation as a site, in site/, without a network
	$(SITE)

clean:  ## Remove .venv and caches; stored data stays
	rm -rf $(VENV) site .venv-newest .venv-3.12 .venv-policy .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
