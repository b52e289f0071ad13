# `make demo` and `make test` are all a new user needs; each makes .venv when it is missing.
PYTHON ?= python3
RUN ?= runs/demo
export OMP_NUM_THREADS ?= 1

STAMP := .venv/installed
OPS_STAMP := .venv-ops/installed

.PHONY: demo test test-slow test-ops benchmark lint clean

demo: $(STAMP)
	.venv/bin/tps run configs/demo.toml -o $(RUN)

# Each file's tests stay in one process, which makes what they share once.
test: $(STAMP)
	.venv/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMP)
	.venv/bin/python -m pytest -m slow

test-ops: $(OPS_STAMP)
	.venv-ops/bin/python -m pytest -m 'ops and not slow' tests/ops

benchmark: $(STAMP)
	.venv/bin/python -m pytest -m benchmark -s tests/benchmarks

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

clean:
	rm -rf .venv .venv-ops dist build

$(STAMP): pyproject.toml constraints.txt hatch_build.py tps/report/libraries/package-lock.json
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# OpenPathSampling asks for numpy 1 and forgets six.
$(OPS_STAMP): pyproject.toml constraints-ops.txt
	test -x .venv-ops/bin/python || $(PYTHON) -m venv .venv-ops
	.venv-ops/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-ops.txt -e '.[test]' openpathsampling six
	touch $@
