# Everything works from a bare clone: virtual environments are made where they are missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
N ?= 2000000

.DEFAULT_GOAL := test
.PHONY: demo test lint lane-shipped lane-uncompiled lane-checked lane-differential lane-corpus wheel bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.product: pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.product

# Labelled captures in, flow records out.
demo: $(VENV)/.product
	$(BIN)/flowgauge extract examples/captures -o flows.csv --label '{app}_{action}_*.pcap'
	@echo; echo "flows.csv, its first columns:"; cut -d, -f8-12,20-22,38,39 flows.csv | head -8

test: lint lane-shipped lane-uncompiled lane-checked lane-differential

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# As users run it.
lane-shipped: $(VENV)/.test
	$(BIN)/flowgauge warmup
	$(BIN)/python -m pytest -n auto

# The same code as plain Python; the only lane whose coverage means something.
lane-uncompiled: $(VENV)/.test
	NUMBA_DISABLE_JIT=1 FLOWGAUGE_EXAMPLES=0.02 $(BIN)/python -m coverage run -m pytest -n auto -m 'not slow and not corpus and not compiled and not oracle and not netns'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# Every index of every kernel is checked.
lane-checked: $(VENV)/.test
	NUMBA_BOUNDSCHECK=1 $(BIN)/flowgauge warmup
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest -n auto -m 'not compiled and not slow and not oracle and not netns'

# Many more generated conversations against the oracle.
lane-differential: $(VENV)/.test
	FLOWGAUGE_EXAMPLES=3 $(BIN)/python -m pytest -n auto tests/test_differential.py

# Comparisons over every real capture, of which the other lanes look at one in eight. Takes some 20 minutes.
lane-corpus: $(VENV)/.test
	FLOWGAUGE_ALL_CAPTURES=1 $(BIN)/python -m pytest -n auto -m corpus

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
	rm -rf $(VENV) $(VENV)-wheel dist flows.csv benchmarks/data .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
