# SPDX-License-Identifier: GPL-2.0-or-later
# make serve: share a demonstration folder.  make test: run the tests.  make bench: measure beside Samba.
# All set up what they need first.

SHELL := /bin/sh
.DEFAULT_GOAL := build
# COMPILED=1 to build, serve or test with the busiest modules compiled (.venv-compiled: takes a minute, and a C compiler).
# make serve takes them where they are there, COMPILED=0 does not; measurements have them, BENCH_COMPILED=0 does not.
BENCH_COMPILED ?=
COMPILED ?=
VENV = .venv$(if $(filter 1,$(COMPILED)),-compiled)
bench bench-core bench-fairness bench-growth: COMPILED = $(if $(filter 0,$(BENCH_COMPILED)),0,1)
PYTEST_ARGS ?=
# Processes that run tests at once, each a file of them; 1: none but pytest's own
TEST_JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); [ $$n -le 4 ] || n=4; echo $$n)
export BENCH_ROUNDS BENCH_SCALE BENCH_SECONDS BENCH_FOLDER BENCH_WORKERS BENCH_ONLY COMPILED

export PYTHONUTF8 := 1

.PHONY: bench-core interpreted build setup-test setup-bench setup-conformance serve test test-compiled test-compiled-core bench bench-fairness bench-growth compiled-wheel conformance conformance-gentest fuzz oracle vm-test lint clean

build:
	@sh scripts/setup.sh serve

setup-test:
	@sh scripts/setup.sh test

setup-bench:
	@sh scripts/setup.sh bench

serve: build
	@venv=$(VENV); \
	if [ -z "$(COMPILED)" ]; then \
		if COMPILED=1 sh scripts/setup.sh built; then venv=.venv-compiled; else \
			echo "make serve: all modules run as Python; make build COMPILED=1 compiles the busiest, in a minute" >&2; \
		fi; \
	fi; \
	exec $$venv/bin/python -Pm ksmbd.tools.serve

test: setup-test
	@exec $(VENV)/bin/python -Pm pytest $(if $(filter-out 1,$(TEST_JOBS)),-n $(TEST_JOBS) --dist loadfile) $(PYTEST_ARGS)

# All tests of the compiled twin; the same as make test COMPILED=1
test-compiled:
	@$(MAKE) --no-print-directory test COMPILED=1

# What continuous integration runs of the compiled twin: what can differ there, in the time that it has
SYSTEM_CORE := $(foreach name,bad_input data_paths opens_across_workers protocol rights server smbclient smbprotocol \
	two_clients worker_death,tests/system/test_$(name).py)
test-compiled-core:
	@$(MAKE) --no-print-directory test COMPILED=1 PYTEST_ARGS='tests/unit tests/conformance $(SYSTEM_CORE)'

# BENCH_ROUNDS=5, BENCH_SCALE=1, BENCH_FOLDER=/dev/shm, BENCH_WORKERS=0 (one a CPU), BENCH_ONLY=REGEX;
# BENCH_COMPILED=0 measures the server as Python; bench.json has the figures
bench: setup-bench
	@BENCH_COMMAND="$(strip make bench $(foreach name,ROUNDS SCALE FOLDER WORKERS ONLY COMPILED,$(if $(BENCH_$(name)),BENCH_$(name)=$(BENCH_$(name)))))" \
		$(VENV)/bin/python tests/bench/run.py

# How long a bystander waits while another client asks for too much, beside Samba; 0 only where nobody of ours waits longer
# than 200 ms. BENCH_SECONDS=3 a row, BENCH_FOLDER=/dev/shm, BENCH_WORKERS=1, BENCH_ONLY=REGEX; figures: bench-fairness.json
bench-fairness: setup-bench
	@BENCH_COMMAND="$(strip make bench-fairness $(foreach name,SECONDS FOLDER WORKERS ONLY COMPILED,$(if $(BENCH_$(name)),BENCH_$(name)=$(BENCH_$(name)))))" \
		$(VENV)/bin/python tests/bench/fairness.py

# The core alone, in process: µs of processor time for an operation
bench-core: setup-test
	@PYTHONPATH=tests/unit/smb $(VENV)/bin/python tests/bench/core.py

# What mypyc leaves interpreted on the way of small requests, a row a line; ONLY='ksmbd.smb.read ...': of these modules
interpreted: setup-test
	@.venv/bin/python scripts/interpreted.py $(ONLY)

# dist/*.whl with the busiest modules compiled: takes a minute or two, and a C compiler; install it instead of this checkout
compiled-wheel: setup-test
	KSMBD_COMPILE=1 $(VENV)/bin/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

# How cost grows with workers and connections: docs/*.png
bench-growth: setup-bench
	@$(VENV)/bin/python tests/bench/growth.py

# smbtorture, the whole list of tests/conformance, each test in the configuration that it needs; root for the tests that
# block ports. WORKERS=4: with so many alone. JSON=FILE: the outcomes. FS=ext4, xfs, btrfs or tmpfs: all that the plain
# server can serve, on such a file system, made for it in a file of 1 GiB
WORKERS ?= 1 4
conformance: setup-conformance
	@for workers in $(WORKERS); do $(VENV)/bin/python tests/conformance/smbtorture.py --workers $$workers \
		$(if $(FS),--fs $(FS),--all) $(if $(JSON),--json $(JSON)) $(TESTS) || exit; done

# Samba's gentest: random operations, the same on our server and on a private smbd. SEEDS=100, OPS=500, FIRST=1; root
SEEDS ?= 100
OPS ?= 500
FIRST ?= 1
conformance-gentest: setup-conformance
	@$(VENV)/bin/python tests/conformance/gentest.py --first $(FIRST) --seeds $(SEEDS) --ops $(OPS)

setup-conformance:
	@sh scripts/setup.sh conformance

# tests/vm in a virtual machine with Debian's own kernel, booted by scripts/vm.sh: root. MODULES='test_engines.py ...'
vm-test:
	@sh scripts/setup.sh vm
	@sh scripts/vm.sh test $(MODULES)

lint: setup-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff check --preview --select PLR1702 ksmbd mountd tools
	$(VENV)/bin/python scripts/typecheck.py

# Draws that no test has drawn: what users may do beside what the kernel and Samba say; root
ORACLE_DRAWS ?= 10000
ORACLE_SEED ?= 0
oracle: setup-test
	@$(VENV)/bin/python -P tests/oracle/run.py all --draws $(ORACLE_DRAWS) --seed $(ORACLE_SEED)

# The decoders, fuzzed by coverage: SECONDS=3600, TARGET=NAME; inputs and findings go to var/fuzz
SECONDS ?= 600
fuzz: setup-test
	@$(VENV)/bin/python -c 'import atheris' 2>/dev/null || $(VENV)/bin/python -m pip install -q --root-user-action=ignore 'atheris>=3,<4'
	@$(VENV)/bin/python -P tests/fuzz/fuzz.py --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET))

clean:
	rm -rf .venv .venv-compiled var build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
