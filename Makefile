# Every target makes the environment that it needs; nothing has to be prepared.
#   make demo                                    transfer against from scratch on scikit-learn's digits
#   make demo FOLDER=photos BACKBONE=resnet50    the same on a folder of photos, one sub-folder per class
#   make test | lint | bench | docs

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKBONE ?= tiny_fractal
FOLDER ?=
OUT ?= out

# One thread: results are then the same bits on every machine of a kind, and small networks are not slowed by waiting threads.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test slow lint bench docs pretrain clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 10), 'sktl needs Python 3.10 or later; try make PYTHON=python3.12'"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[test,lint]"
	touch $@

demo: $(VENV)/.installed
	mkdir -p $(OUT)
	$(BIN)/sktl compare $(if $(FOLDER),"$(FOLDER)",--digits) --backbone $(BACKBONE) --plot $(OUT)/comparison.png --report $(OUT)/report.html $(ARGS)

test: $(VENV)/.installed
	$(BIN)/pytest

slow: $(VENV)/.installed
	$(BIN)/pytest -m slow

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable ".[bench]"
	for table in engines cold prefix grid_search warm_store growth two_processes tiny_fractal false_alarms; do $(BIN)/python benchmarks/$$table.py || exit 1; done

docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable ".[docs]"
	$(BIN)/sphinx-build -W -b html docs $(OUT)/docs

pretrain: $(VENV)/.installed
	$(BIN)/python pretraining/tiny_fractal.py

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info
