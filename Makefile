# Each target sets itself up; nothing but git, make and Python 3.11 or newer is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= search_spaces/quickstart.yaml

.PHONY: quickstart tour test test-all slow check format docs blender clean

quickstart: $(VENV)/.installed
	$(BIN)/python -m sweep.run $(STUDY)

tour: $(VENV)/.installed
	$(BIN)/python -m sweep.run search_spaces/tour.yaml

test: $(VENV)/.installed-dev  # bytecode is kept for the many processes that tests start, whatever the shell says
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: test slow

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow --timeout 7200

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed
	$(BIN)/python -m sweep.space --schema > search_spaces/schema.json
	$(BIN)/python -m sweep.reference docs

blender: $(VENV)/.installed
	$(BIN)/python -m frozen.data.scenes.blender_env

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
