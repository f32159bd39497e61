# The commands of this project. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
HOST   ?= 127.0.0.1
PORT   ?= 8000

.PHONY: help demo serve test test-all test-slow test-hardened test-image lint check format lock sbom bench bench-quick bench-growth bench-replicas bench-verify bench-idempotency bench-report torture soak fuzz clean

help:
	@echo "make demo    ten license keys over HTTP, signature checked, on a throw-away installation"
	@echo "make serve   the same server, kept running on $(HOST):$(PORT) with data in ./data"
	@echo "make test    the tests, on SQLite and on a real PostgreSQL"
	@echo "make test-all  these, and what waits for many processes: kills, failovers, stops, backups, most commands"
	@echo "make test-slow  what takes longer by nature: kills, long lives, measurements"
	@echo "make test-hardened  the tests without rights: user 10001, no capabilities, nothing to write to (needs root)"
	@echo "make test-image  builds the image and runs it, by docker, podman or buildah, whichever answers"
	@echo "make lint    format, lint, types, import contracts"
	@echo "make check   lint and test-all"
	@echo "make format  let the formatter have its way"
	@echo "make bench   measure, 12 minutes, and fill docs/performance.md; make bench-growth: up to ten million keys;"
	@echo "             make bench-verify, make bench-replicas: verification; two replicas behind nginx;"
	@echo "             make bench-idempotency: what an idempotency key costs;"
	@echo "             make bench-quick: a few minutes, for development (all need wrk and openssl)"
	@echo "make torture the crash tests at length: a thousand kills on each database, two hours"
	@echo "make soak    three minutes at work, on both databases: memory, descriptors, disk; an hour by SOAK_S=3600"
	@echo "make fuzz    what reads the bytes of strangers, fuzzed by coverage, a minute each by FUZZ_S=60 (Linux on x86-64)"
	@echo "make lock    resolve the dependencies anew (needs uv)"
	@echo "make sbom    dist/sbom.cdx.json: what runs, with versions and hashes, for whoever looks for known weaknesses"

demo: $(VENV)/runtime.stamp
	@$(BIN)/hanaper demo

serve: $(VENV)/runtime.stamp
	$(BIN)/hanaper init --demo --data-dir data
	$(BIN)/hanaper serve --host $(HOST) --port $(PORT) --data-dir data

# More tests at once than there are cores: many wait for processes that start or end.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# Tests start hundreds of processes, and each would compile every module anew.
test test-all test-slow torture soak: export PYTHONDONTWRITEBYTECODE =
DECIDES := src/hanaper/protocol/*,src/hanaper/signing/*,src/hanaper/*/rules.py
test: $(VENV)/development.stamp
	$(BIN)/pytest -m 'not slow and not long' --numprocesses $(WORKERS) --dist worksteal

# Coverage of branches: all of what decides about bytes, keys and rules, and nine tenths of everything. To measure it
# takes half as much again of the processors' time.
test-all: $(VENV)/development.stamp
	rm -f .coverage .coverage.*
	$(BIN)/pytest -m 'not slow' --numprocesses $(WORKERS) --dist worksteal --cov --cov-report=
	$(BIN)/coverage report --include='$(DECIDES)' --fail-under=100
	$(BIN)/coverage report --fail-under=90

# What takes minutes. Environment variables say how much of it: CONTRIBUTING.md. At the end stands what was measured.
test-slow: $(VENV)/development.stamp
	$(BIN)/pytest -m slow --ignore=tests/image --log-level=INFO --numprocesses auto --dist worksteal --durations=10
	HANAPER_TEST_KEYS_IN=token $(BIN)/pytest --numprocesses auto --dist worksteal tests/api

# In a cage as a container engine makes it: tests/support/cage.py. TESTS may name tests and options.
test-hardened: $(VENV)/development.stamp
	$(BIN)/python -m tests.support.hardened $(TESTS)

# Fetches the base image; the test of compose also PostgreSQL's and nginx's.
test-image: $(VENV)/development.stamp
	$(BIN)/pytest -m slow tests/image $(TESTS)

lint: $(VENV)/development.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint test-all

format: $(VENV)/development.stamp
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock:
	$(PYTHON) .ci/lock.py

sbom: $(VENV)/development.stamp
	$(BIN)/python .ci/sbom.py dist/sbom.cdx.json

bench bench-quick bench-growth bench-replicas bench-verify bench-idempotency: $(VENV)/development.stamp
	@$(BIN)/python -m benchmarks $(if $(filter bench,$@),full,$(@:bench-%=%))

# The tables of docs/performance.md once more, from the newest results.
bench-report: $(VENV)/development.stamp
	@$(BIN)/python -m benchmarks report

torture: $(VENV)/development.stamp
	HANAPER_TEST_KILL_CYCLES=1000 $(BIN)/pytest -m slow --log-cli-level=INFO tests/e2e/test_kill.py tests/e2e/test_kill_upgrade.py

soak: $(VENV)/development.stamp
	HANAPER_TEST_SOAK_S=$(or $(SOAK_S),180) $(BIN)/pytest -m slow --log-level=INFO --numprocesses 2 tests/e2e/test_soak.py

# Each reader of what strangers write, by coverage: FUZZ_S seconds (60); TARGETS names some of them, FUZZ_KEEP=1 keeps
# what leads to new places. See CONTRIBUTING.md.
fuzz: $(VENV)/fuzzing.stamp
	@$(BIN)/python -m tests.fuzz $(TARGETS)

clean:
	rm -rf $(VENV) dist benchmarks/scratch .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "hanaper needs Python 3.11 or newer; name one: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "This Python has no venv module. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

# The lock file has four parts, one after the other: runtime, build, development, fuzzing.
$(VENV)/runtime.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing hanaper into $(VENV) (once; takes a minute or two)"
	@sed '/^# --- development ---$$/,$$d' requirements.lock > $(VENV)/runtime.lock
	$(PIP) install --require-hashes --requirement $(VENV)/runtime.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/development.stamp: requirements.lock $(VENV)/runtime.stamp
	@sed '/^# --- fuzzing ---$$/,$$d' requirements.lock > $(VENV)/development.lock
	$(PIP) install --require-hashes --requirement $(VENV)/development.lock
	@touch $@

$(VENV)/fuzzing.stamp: requirements.lock $(VENV)/development.stamp
	@sed -n '/^# --- fuzzing ---$$/,$$p' requirements.lock > $(VENV)/fuzzing.lock
	$(PIP) install --require-hashes --requirement $(VENV)/fuzzing.lock
	@touch $@
