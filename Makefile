# make run          set up, then train and evaluate on this machine      make run ARGS="seed=1 scale=smoke"
# make test         the test suite                                        make test ARGS="-k config"
# make test-fast    the tests that take less than a second each
# make test-all     also the heavy tests that rarely change: all gold answers, every architecture, every sweep file
# make lint         format, style, docstrings, types, import contracts
# make docs         build the documentation into site/                    make docs-serve shows it at localhost:8000
# make coverage     check that the exact tests reach every line and branch of ops/
# make benchmark    engine against transformers.generate, a round against its floor, GRPO against TRL's
# make benchmark-gpu  local, hf and TRL side by side on a CUDA device
# make graders FOLDER=DATA  the grader on the real MATH and GSM8K, beside others (tests/benchmark/graders.md)
# make mutants      insert one fault at a time: do the tests notice?      make mutants ARGS="gae ppo"
#
# Python 3.11 or newer is all that is needed. The environment is created once, in .venv, with the versions of
# constraints.txt. Torch is installed first and alone, from the index that pip is set to: that index decides between CPU
# and CUDA builds, and everything else then uses the build that is installed. PIP_INDEX_URL and PIP_EXTRA_INDEX_URL choose
# another index (PyTorch's own has builds for the CPU, and for each CUDA version).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
ARGS   ?=
FOLDER ?= $(AMEND_DATA)

.PHONY: run test test-fast test-all lint docs docs-serve coverage benchmark benchmark-gpu graders mutants install install-dev clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/python run.py algo=score task=math $(ARGS)

test: $(VENV)/.installed-dev
	AMEND_TYPECHECK=0 $(PYTEST) -m "not heavy" $(ARGS)

test-fast: $(VENV)/.installed-dev
	AMEND_TYPECHECK=0 $(PYTEST) -m "not heavy and not slow" tests/ops tests/results/metrics tests/results/stats tests/results/analysis \
		tests/config/test_compose.py tests/task/dataset tests/reward tests/exploration tests/logger tests/test_batch.py $(ARGS)

test-all: $(VENV)/.installed-dev
	$(PYTEST) $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m coverage run --data-file=$(VENV)/.coverage --branch --source=src/amend/ops -m pytest -q tests/ops tests/policy/test_logprobs.py
	$(BIN)/python -m coverage report --data-file=$(VENV)/.coverage --show-missing --fail-under=100

benchmark: $(VENV)/.installed-dev
	PYTHONPATH=tests/helpers $(BIN)/python tests/benchmark/run.py $(ARGS)

benchmark-gpu: $(VENV)/.installed-dev
	PYTHONPATH=tests/helpers $(BIN)/python tests/benchmark/gpu.py $(ARGS)

graders: $(VENV)/.installed-dev
	PYTHONPATH=tests/helpers $(BIN)/python tests/benchmark/graders.py $(FOLDER) $(ARGS)

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
