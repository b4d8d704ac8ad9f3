# Two commands to know:  make demo  (map the sample survey)  and  make test.
# Any Python >= 3.11 will do; choose one with PYTHON=..., and torch's build with TORCH_INDEX=...

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	&& echo $$p && break; done)
TORCH_INDEX ?=
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
TORCH_FROM := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)

.PHONY: demo test lint types check setup setup-dev sample plugin wheels clean help

help:
	@echo "make demo    set up, map the sample survey -> demo/cracks.gpkg and demo/quicklook.png"
	@echo "make test    set up, run the tests"
	@echo "make check   tests, lint and types, as CI runs them"
	@echo "make plugin  the QGIS plugin's zip -> dist/"
	@echo "make wheels  a folder to set the engine up from without internet -> dist/wheels/"
	@echo "make clean   remove what the targets made, also the environment"

demo: setup sample
	@mkdir -p demo
	$(BIN)/crackgeo map sample_data/survey.tif -o demo/cracks.gpkg \
		--quicklook demo/quicklook.png --overwrite
	@echo "open demo/cracks.gpkg in QGIS, or look at demo/quicklook.png"

test: setup-dev
	$(BIN)/python -m pytest -m "not qgis and not gpu"

check: test lint types

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

sample: sample_data/survey.tif

SAMPLE_CODE := sample_data/make_sample.py $(addprefix training/drawing/,pavement.py engraving.py textures.py crack_shapes.py street_objects.py)

sample_data/survey.tif: $(SAMPLE_CODE) $(VENV)/.setup
	$(BIN)/python sample_data/make_sample.py --out sample_data

# Needs Qt's lrelease. PLUGIN_URL=https://HOST/OWNER/crackgeo PLUGIN_EMAIL=... for plugins.qgis.org.
plugin:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) markdown-it-py setuptools
	$(BIN)/python qgis_plugin/package.py --out dist \
		$(if $(PLUGIN_URL),--url $(PLUGIN_URL)) $(if $(PLUGIN_EMAIL),--email $(PLUGIN_EMAIL))

# For a machine of the same system and Python as this one; torch as TORCH_INDEX says.
wheels:
	@mkdir -p dist/wheels
	$(PYTHON) -m pip wheel -q --no-deps -w dist/wheels .
	$(PYTHON) -m pip download -q -d dist/wheels --no-deps --only-binary :all: -c constraints.txt $(TORCH_FROM) torch
	$(PYTHON) -m pip download -q -d dist/wheels --only-binary :all: --find-links dist/wheels -c constraints.txt 'crackgeo[train]'

setup: $(VENV)/.setup

setup-dev: $(VENV)/.setup-dev

# torch first and alone: its index (CPU or CUDA builds) holds no other package.
$(VENV)/.setup: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "crackgeo needs Python >= 3.11: make PYTHON=/path/to/python3"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps $(TORCH_FROM) torch
	$(PIP) -e .
	@echo "compiling the measuring kernels, once (about a minute)"
	$(BIN)/python -c "from crackgeo.vectorize import warm_up; warm_up()"
	@touch $@

$(VENV)/.setup-dev: $(VENV)/.setup
	$(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f sample_data/*.tif sample_data/*.gpkg
