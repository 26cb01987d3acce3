# Everything here needs only Python 3.11 or newer with its venv module, and make: each target makes .venv if there is
# none, and installs again when pyproject.toml or constraints.txt changed.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KERNELS := $(wildcard tapir/kernels/*.py)
BUILT := $(VENV)/.built

EXAMPLE := deploy/examples/standalone
STATE := run/state

# Rooms whose tests must reach every branch but a few: the runtime, and what is a plain function.
PURE := actors tapir/model tapir/codec tapir/policy tapir/zone tapir/minimiser
FLOOR := 95

PYTEST_ARGS ?=

.PHONY: help run test test-uncompiled check bench campaign clean distclean

help:
	@echo 'make run       a POP on the lists of $(EXAMPLE), zone on 127.0.0.1:5359'
	@echo 'make test      all tests, with the coverage floors   (PYTEST_ARGS=... for pytest)'
	@echo 'make test-uncompiled   those of the pure rooms, with the kernels as Python'
	@echo 'make check     format, lint, change notes, imports, types'
	@echo 'make bench     the ratios that we promise'
	@echo 'make campaign  kill loops, fuzzing and long edit histories, in full: takes hours'
	@echo 'make clean     removes what building, testing and make run left; make distclean also $(VENV)'

$(INSTALLED): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is too old or missing: tapir needs Python 3.11 or newer (make PYTHON=python3.12 ...)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo '$(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo 'installing tapir and its tools into $(VENV)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,edm]'
	@touch $@

# The compiled form of a kernel wins over its text: after an edit it must be made again.
$(BUILT): $(INSTALLED) $(KERNELS)
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

run: $(BUILT)
	@mkdir -p $(STATE)
	@echo 'While this runs, try in another shell:'
	@echo
	@echo '  dig @127.0.0.1 -p 5359 dnstapir. AXFR                              the zone, as a resolver takes it'
	@echo '  $(BIN)/tapir explain malware.example --state-dir $(STATE)       denied'
	@echo '  $(BIN)/tapir explain partner.example --state-dir $(STATE)       denied, but allowed'
	@echo '  $(BIN)/tapir explain suspicious.example --state-dir $(STATE)    doubted by two lists'
	@echo '  $(BIN)/tapir status --state-dir $(STATE)                        sources, zone, secondaries, actors'
	@echo '  $(BIN)/tapir top --state-dir $(STATE)                           the same, live'
	@echo
	@echo 'Edit a list in $(EXAMPLE) and look again after some seconds. Ctrl-C stops it.'
	@echo
	@$(BIN)/tapir run --config-dir $(EXAMPLE) --state-dir $(STATE)

test: $(BUILT)
	$(BIN)/pytest --cov --cov-report= $(PYTEST_ARGS)
	@for room in $(PURE); do \
		printf 'branch coverage of %s: ' $$room; \
		$(BIN)/coverage report --include="$$room/*" --format=total --fail-under=$(FLOOR) || \
			{ $(BIN)/coverage report --include="$$room/*"; echo "$$room is below $(FLOOR) %" >&2; exit 1; }; \
	done

# Deselected: what counts octets or names by the hundred thousand, and says nothing of the kernels' form.
test-uncompiled: $(INSTALLED)
	TAPIR_KERNELS=uncompiled $(BIN)/pytest tests/kernels tests/codec tests/policy tests/zone tests/store tests/minimiser \
		-m 'not slow and not upstream' -k 'not memory_flat and not takes_few_octets' $(PYTEST_ARGS)

# Fastest first: what is wrong is said soon. Only a file that speaks of Trio or of async can lose a cancellation, and
# flake8-async takes its time over each.
check: $(BUILT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/towncrier build --draft --version 0.0.0 >/dev/null 2>&1 || $(BIN)/towncrier build --draft --version 0.0.0
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	grep -rlE --include='*.py' '\b(async|await|trio)\b' actors tapir tests | xargs -n 16 -P 2 \
		$(BIN)/flake8-async --enable ASYNC1,ASYNC2 --disable ASYNC114,ASYNC124,ASYNC127,ASYNC9

bench: $(BUILT)
	$(BIN)/pytest tests/bench -o python_files='bench_*.py' -s $(PYTEST_ARGS)

campaign: $(BUILT)
	TAPIR_CAMPAIGN=full $(BIN)/pytest -m 'campaign or hypothesis' $(PYTEST_ARGS)

clean:
	rm -f tapir/kernels/*.so $(BUILT)
	rm -rf build dist out run *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find actors tapir tests -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
