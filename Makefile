# `make demo` and `make test` are all a new user needs; each makes .venv when it is missing.
PYTHON ?= python3
RUN ?= runs/demo
N ?= 10000
SEED ?= 1
export OMP_NUM_THREADS ?= 1

STAMP := .venv/installed
OPS_STAMP := .venv-ops/installed
DOCS_STAMP := .venv/installed-docs
PAGE_STAMP := .venv/installed-page
DASK_STAMP := .venv/installed-dask
OPENCL_STAMP := .venv/installed-opencl

.PHONY: demo test test-slow test-survive test-page test-dask test-opencl test-ops fuzz benchmark lint docs docs-numbers clean

demo: $(STAMP)
	.venv/bin/tps run configs/demo.toml -o $(RUN)

# Each file's tests stay in one process, which makes what they share once.
test: $(STAMP)
	.venv/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile

# Kills at random moments, signals and full disks, in half an hour of two cores; shown is how often each stage was hit.
test-survive: $(STAMP)
	.venv/bin/python -m pytest -m survive -n 2 --dist worksteal -rP tests/survive

test-slow: $(STAMP)
	.venv/bin/python -m pytest -m slow

# Ten thousand malformed inputs of every kind, by a fixed seed: `make fuzz N=300 SEED=2` for fewer, or others.
fuzz: $(STAMP)
	PYTHONPATH=tests .venv/bin/python -m fuzz $(N) $(SEED)

# The page of a run in a browser: Debian's chromium, or the one that CHROMIUM names.
test-page: $(PAGE_STAMP)
	.venv/bin/python -m pytest -m page tests/page

# The same bytes from a Dask cluster as from this machine, with workers killed and a scheduler restarted.
test-dask: $(DASK_STAMP)
	.venv/bin/python -m pytest -m dask tests/test_cluster_runs.py

# OpenMM's code for GPUs on this CPU, by Intel's OpenCL.
test-opencl: $(OPENCL_STAMP)
	LD_LIBRARY_PATH=.venv/lib OCL_ICD_FILENAMES=$(CURDIR)/.venv/lib/libintelocl.so \
		.venv/bin/python -m pytest -m 'slow or not slow' tests/test_devices.py

test-ops: $(OPS_STAMP)
	.venv-ops/bin/python -m pytest -m 'ops and not slow' tests/ops

benchmark: $(STAMP)
	.venv/bin/python -m pytest -m benchmark -s tests/benchmarks

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# The page of metrics explains the numbers of two short runs; the notebook is run as well.
docs: $(DOCS_STAMP)
	.venv/bin/tps run smoke -o build/docs/molecule --force
	.venv/bin/tps run docs/_site/surface/run.toml -o build/docs/surface --force
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	.venv/bin/python -m pytest -m docs tests/test_notebook.py

# What commands print on a finished run of the demo, put into the documents.
docs-numbers: $(STAMP)
	.venv/bin/python docs/_site/refresh.py $(RUN)

clean:
	rm -rf .venv .venv-ops dist build site

$(STAMP): pyproject.toml constraints.txt hatch_build.py tps/report/libraries/package-lock.json
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(DOCS_STAMP): $(STAMP)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $@

$(PAGE_STAMP): $(STAMP)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[page]'
	touch $@

$(DASK_STAMP): $(STAMP)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,dask]'
	touch $@

$(OPENCL_STAMP): $(STAMP)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,opencl]'
	touch $@

# OpenPathSampling asks for numpy 1 and forgets six.
$(OPS_STAMP): pyproject.toml constraints-ops.txt
	test -x .venv-ops/bin/python || $(PYTHON) -m venv .venv-ops
	.venv-ops/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-ops.txt -e '.[test]' openpathsampling six
	touch $@
