# Everything needs Python 3.11 or newer and make; the rest is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Whatever the shell says, what was compiled is kept: the suite starts hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help up down test bench compat faults lint clean

help:
	@echo "make up     install what is missing, start the local fleet, onboard the demo tenants (ETCD=\"URL …\")"
	@echo "make down   stop everything that up has started"
	@echo "make test   install what is missing, check the code, run the whole test suite"
	@echo "make bench  measure side by side with the peers (AREAS=…, BENCH=--quick), into bench/results.json"
	@echo "make compat run well-known apps' own tests inside tenants and without (SUITES=…)"
	@echo "make faults break regions, links and clocks while clients write (FAULTS=…, LEASED=…)"
	@echo "make lint   only check the code: style, types, import contracts, migrations"
	@echo "make clean  stop the fleet, delete its data, the environment and all caches"

up: $(INSTALLED)
	@$(BIN)/python -m infra.fleet up --tenants demo $(addprefix --etcd ,$(ETCD))

down:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m infra.fleet down; \
	else echo "Nothing to stop: there is no $(VENV)."; fi

# The fleets' tests measure how long things take: there are two fleets, and nothing else.
test: lint
	$(BIN)/python -m pytest -n 4 -m "not fleet"
	$(BIN)/python -m pytest -n 2 -m fleet

bench: $(INSTALLED)
	$(BIN)/python -m bench $(AREAS) $(BENCH)

compat: $(INSTALLED)
	$(BIN)/python -m tests.compat $(SUITES)

faults: $(INSTALLED)
	$(BIN)/python -m tests.faults $(FAULTS)
	$(BIN)/python -m tests.faults.leased $(LEASED)
	$(BIN)/python -m tests.faults.leased --store etcd $(LEASED)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.:platform $(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m infra.fleet down --purge; fi
	rm -rf $(VENV) .bench .compat .pgbouncer .etcd .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again whenever requirements.txt is newer. A dot is a package; what pip says of an error is
# printed in full.
$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@[ -x $(BIN)/pip ] || { echo "Creating $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@printf 'Installing requirements '
	@{ $(BIN)/python -m pip install --disable-pip-version-check --root-user-action=ignore \
	--progress-bar off --requirement requirements.txt 2>&1; echo "status $$?"; } | \
	awk '/^status / { print ""; exit $$2 } /^(Collecting|Requirement already)/ { printf "." } \
	/^(ERROR|error)/ { print "\n" $$0 } { fflush() }'
	@touch $@
