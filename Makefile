# `make run` and `make test` set up everything they need on a machine with Python 3.11 and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Each test process starts a PostgreSQL server of its own. One more than the two cores of a small machine, because tests
# of faults wait much.
TEST_PROCESSES ?= 3
# Each file runs in one process, in the order of tests/conftest.py: the longest first.
DISTRIBUTED := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
SOAK_MINUTES ?= 20
# In one process: roles belong to the cluster, and each process would make them anew.
CITUS_TESTS := tests/citus tests/kinds tests/events/test_histories.py tests/events/test_two_at_once.py \
	tests/events/test_following.py tests/api_requests tests/stores tests/devices \
	tests/erasure/test_wrong_events.py
export CITUS_URL
LOCKS := statistics-api/requirements.txt device-registration-api/requirements.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links \
	$(addprefix --no-emit-package ,contract servicekit device-statistics-track statistics-api device-registration-api)
PACKAGES := -e packages/contract -e packages/servicekit -e statistics-api -e device-registration-api

DEPLOY_VENV := .venv-deploy
# Images of Python often set it. Each test process would then rewrite every module of tests anew, for its assertions.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test soak lint coverage bench simulate scale lock screenshots verify-counts rotate-keys clean test-citus test-compose test-deploy k8s-secrets k8s-render

help:  ## Print this list
	@awk -F ':.*  ## ' '/^[a-z0-9-]+:.*  ## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

.DEFAULT:
	@echo "There is no target '$@'. The targets are:" >&2; $(MAKE) --no-print-directory help >&2; exit 2

run: $(VENV)/.run-ready  ## Start PostgreSQL and both services; Ctrl-C stops everything
	@exec $(BIN)/python -m local.run

test: $(VENV)/.test-ready lint  ## Run every test that needs no Docker, on real PostgreSQL
	$(BIN)/python -m pytest $(DISTRIBUTED)

soak: $(VENV)/.soak-ready  ## Test under every fault, mixed, for SOAK_MINUTES (20); report: build/soak/report.md
	@exec $(BIN)/python -m tests.faults.soak --minutes $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

lint: $(VENV)/.test-ready  ## Check style, formatting, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(VENV)/.test-ready  ## Run the tests and report branch coverage, child processes included (build/coverage/html)
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m pytest $(DISTRIBUTED) $(PYTEST_ARGS); status=$$?; \
		$(BIN)/coverage combine --quiet && $(BIN)/coverage report --sort=cover && $(BIN)/coverage html --quiet; exit $$status

bench: $(VENV)/.test-ready  ## Measure every figure of docs/performance.md (needs wrk and an otherwise idle machine)
	@exec $(BIN)/python -m load.bench

simulate: $(VENV)/.test-ready  ## Predict throughput and latency of an installation; ARGS="--help" says how (docs/scale.md)
	@$(BIN)/python -m load.simulation $(ARGS)

scale: $(VENV)/.test-ready  ## Measure what docs/scale.md says, and write its tables (needs wrk and an idle machine)
	@$(BIN)/python -m load.scale $(ARGS)

lock: $(VENV)/.test-ready  ## Renew the hash-locked requirements files from the pyproject.toml files
	$(UV) pyproject.toml --group dev -o requirements/dev.txt
	$(UV) --group pyproject.toml:local -c requirements/dev.txt -o requirements/local.txt
	$(UV) --group pyproject.toml:build -c requirements/dev.txt -o requirements/build.txt
	$(UV) --group pyproject.toml:load -o load/requirements.txt
	$(UV) --group pyproject.toml:alternatives -c requirements/dev.txt -o requirements/alternatives.txt
	$(UV) --group pyproject.toml:deploy -o requirements/deploy.txt
	$(UV) --group pyproject.toml:soak -o requirements/soak.txt
	$(UV) statistics-api/pyproject.toml -c requirements/dev.txt -o statistics-api/requirements.txt
	$(UV) device-registration-api/pyproject.toml -c requirements/dev.txt -o device-registration-api/requirements.txt

test-compose: $(VENV)/.test-ready  ## Build, use, break, restore and remove a Compose stack (needs Docker)
	@if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then \
		$(BIN)/python -m pytest tests/compose --timeout 900 -v; \
	else \
		echo "NOT CHECKED: THE IMAGES AND THE COMPOSE STACK, THEIR RESTARTS, BACKUP AND RESTORE, because \`docker info\` or"; \
		echo "\`docker compose version\` fails here: these tests need a running Docker with Compose v2."; \
	fi

test-citus: $(VENV)/.test-ready  ## Test on a Citus cluster: CITUS_URL=postgresql://... of its coordinator (docs/citus.md)
	@if [ -n "$(CITUS_URL)" ] && $(BIN)/python -m tests.citus_nodes; then \
		exec $(BIN)/python -m pytest $(CITUS_TESTS); \
	else \
		echo "NOT CHECKED: A DATABASE ON SEVERAL NODES, because CITUS_URL does not name the coordinator of a Citus cluster with"; \
		echo "workers: make test-citus CITUS_URL=postgresql://administrator:password@host/database"; \
	fi

screenshots: $(VENV)/.test-ready  ## Make the pictures of docs/dashboard.md and docs/sharing.md anew (needs chromium)
	$(BIN)/python -m pytest -q tests/dashboard/screenshots.py

verify-counts: $(VENV)/.run-ready  ## Compare every count of a running `make run` with the stored events
	@exec $(BIN)/python -m local.command verify-counts

rotate-keys: $(VENV)/.run-ready  ## Wrap people's keys under the first key of DATA_DIR/personal-keks (docs/personal-data.md)
	@exec $(BIN)/python -m local.command rotate-keys

k8s-secrets:  ## Write missing secrets; FROM=cluster reads them from there; ROTATE=service-token|logins|personal-keks|token-keys renews
	@$(PYTHON) k8s/secret_files.py $(if $(ROTATE),rotate $(ROTATE),$(if $(filter cluster,$(FROM)),read,make))

k8s-render:  ## Print what `kubectl apply -k k8s/` would apply, secrets redacted; OVERLAY=local|eks|rds|citus
	@set -o pipefail; kubectl kustomize k8s$(if $(OVERLAY),/overlays/$(OVERLAY)) | $(PYTHON) k8s/redact_secrets.py

test-deploy: $(VENV)/.test-ready $(DEPLOY_VENV)/.ready  ## Test manifests and infrastructure with every scanner
	DEPLOY_TOOLS=$(CURDIR)/$(DEPLOY_VENV)/bin $(BIN)/python -m pytest tests/deploy
	$(BIN)/python -m tests.deploy.tables

clean:  ## Remove the virtual environments
	rm -rf $(VENV) $(DEPLOY_VENV)

$(DEPLOY_VENV)/.ready: requirements/deploy.txt
	@echo "Installing the scanners of manifests, images and infrastructure ..."
	@test -x $(DEPLOY_VENV)/bin/pip || $(PYTHON) -m venv $(DEPLOY_VENV)
	@$(DEPLOY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.run-ready: $(LOCKS) requirements/local.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (set PYTHON=...)" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "Installing what the services need ..."
	@$(INSTALL) --require-hashes $(addprefix -r ,$(LOCKS)) -r requirements/local.txt
	@$(INSTALL) --no-deps --no-build-isolation $(PACKAGES)
	@touch $@

$(VENV)/.test-ready: $(VENV)/.run-ready requirements/dev.txt
	@echo "Installing what the tests need ..."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(INSTALL) --no-deps --no-build-isolation -e packages/device-statistics-track
	@touch $@

$(VENV)/.soak-ready: $(VENV)/.test-ready requirements/soak.txt
	@echo "Installing what the soak needs ..."
	@$(INSTALL) --require-hashes -r requirements/soak.txt
	@touch $@
