# Everything works from a bare clone: virtual environments are made where they are missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
N ?= 2000000
UNCOMPILED := NUMBA_DISABLE_JIT=1 FLOWGAUGE_EXAMPLES=0.02 $(BIN)/python
# Tests of the lanes that run the same code in another way.
OTHER_WAYS := not slow and not compiled and not oracle and not netns

.DEFAULT_GOAL := test
.PHONY: demo docs test lint lane-shipped lane-uncompiled lane-checked lane-differential lane-thorough coverage \
  wheel bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.product: pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[test,docs]'
	@touch $@ $(VENV)/.docs $(VENV)/.report $(VENV)/.product

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[docs]'
	@touch $@ $(VENV)/.product

$(VENV)/.report: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[report]'
	@touch $@ $(VENV)/.product

# Labelled captures in, flow records and a page to look at out.
demo: $(VENV)/.report
	$(BIN)/flowgauge extract examples/captures -o flows.csv --label '{app}_{action}_*.pcap'
	@echo; echo "flows.csv, its first columns:"; cut -d, -f8-12,20-22,38,39 flows.csv | head -8
	@echo; $(BIN)/flowgauge report examples/captures -o report.html --label '{app}_{action}_*.pcap'

# The documentation as a site that needs no network; a warning is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

test: lint lane-shipped lane-uncompiled lane-checked lane-differential

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# As users run it; the lane of generated conversations is one of its own.
lane-shipped: $(VENV)/.test
	$(BIN)/flowgauge warmup
	$(BIN)/python -m pytest -n auto --ignore=tests/test_differential.py

# The same code as plain Python.
lane-uncompiled: $(VENV)/.test
	$(UNCOMPILED) -m pytest -n auto -m '$(OTHER_WAYS) and not corpus'

# Every index of every kernel is checked.
lane-checked: $(VENV)/.test
	NUMBA_BOUNDSCHECK=1 $(BIN)/flowgauge warmup
	NUMBA_BOUNDSCHECK=1 FLOWGAUGE_EXAMPLES=0.3 $(BIN)/python -m pytest -n auto -m '$(OTHER_WAYS)'

# Generated conversations against the oracle.
lane-differential: $(VENV)/.test
	$(BIN)/python -m pytest -n auto tests/test_differential.py

# Untested lines, as far as plain Python can tell: coverage of compiled code lies.
coverage: $(VENV)/.test
	$(UNCOMPILED) -m coverage run -m pytest -n auto -m '$(OTHER_WAYS) and not corpus'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# Every real capture, of which the other lanes look at one in eight, and ten times as many generated ones: half an hour.
lane-thorough: $(VENV)/.test
	FLOWGAUGE_ALL_CAPTURES=1 $(BIN)/python -m pytest -n auto -m corpus
	FLOWGAUGE_EXAMPLES=10 $(BIN)/python -m pytest -n auto tests/test_differential.py

# The built wheel in an environment of its own, without the source tree on the path: what packaging can break.
wheel: | $(BIN)/python
	rm -rf dist $(VENV)-wheel
	$(PIP) install build
	$(BIN)/python -m build --wheel --outdir dist . > /dev/null
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip --quiet --disable-pip-version-check install "$$(ls dist/*.whl)[test]"
	$(VENV)-wheel/bin/python -m pytest -n auto -m 'not slow' tests/cli tests/labels tests/schemas tests/sinks tests/test_examples.py tests/test_services.py

bench: $(VENV)/.product
	-$(PIP) install --editable '.[bench]'
	$(BIN)/python benchmarks/bench.py --packets $(N)
	$(BIN)/python benchmarks/library.py --packets $(N)

clean:
	rm -rf $(VENV) $(VENV)-wheel dist site flows.csv report.html report-screenshots benchmarks/data .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
