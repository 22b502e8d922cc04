# make run          train and compare on this machine, set-up included     make run ARGS="seed=1 scale=smoke"
# make test         everything, and what was skipped and why               make test ARGS="-k config"
# make lint         format, style, types, who imports whom
# make coverage     is every line and branch of ops/ reached by its exact tests?
# make benchmark    our engine against transformers.generate, a round against its floor, GRPO against TRL's
# make benchmark-gpu  local, hf and TRL side by side on a CUDA device
# make graders FOLDER=DATA  the grader on the real MATH and GSM8K, beside others (tests/benchmark/graders.md)
# make mutants      one fault at a time: do the tests notice?            make mutants ARGS="gae ppo"
#
# Nothing is needed beside Python 3.11 or newer. The environment is made once, in .venv, of the very versions in
# constraints.txt. Torch comes first and alone, from whatever index pip is set to: that index decides between CPU and
# CUDA builds and everything else then takes what is there. PIP_INDEX_URL and PIP_EXTRA_INDEX_URL choose another index
# (PyTorch's own has builds for the CPU, and for each CUDA version).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS   ?=
FOLDER ?= $(AMEND_DATA)

.PHONY: run test lint coverage benchmark benchmark-gpu graders mutants install install-dev clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/python run.py algo=score task=math $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m coverage run --data-file=$(VENV)/.coverage --branch --source=src/amend/ops -m pytest -q tests/ops tests/policy/test_likelihood.py
	$(BIN)/python -m coverage report --data-file=$(VENV)/.coverage --show-missing --fail-under=100

benchmark: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python tests/benchmark/run.py $(ARGS)

benchmark-gpu: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python tests/benchmark/gpu.py $(ARGS)

graders: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python tests/benchmark/graders.py $(FOLDER) $(ARGS)

mutants: $(VENV)/.installed-dev
	$(BIN)/python tests/mutation/run.py $(ARGS)

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "amend needs Python 3.11 or newer; this is `$(PYTHON) --version`. Another one: make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): once, a few minutes."
	@$(PIP) "`grep '^torch==' constraints.txt`"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV)
