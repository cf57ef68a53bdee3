# Everything that make installs goes into .venv, so `.venv/bin/vouch` is the command.
PYTHON3 ?= python3
BIN := .venv/bin
READY := $(PYTHON3) tools/bootstrap.py
# Tests run in as many processes as there are cores, four at most: each holds a model of its own.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: setup demo test test-long test-all check format serve bench bench-retrieval bench-audit bench-prompts bench-workflows clean

setup:            ## install what the project needs into .venv
	@$(READY)

demo: setup       ## index real documentation found on this machine, ask, verify
	@$(BIN)/vouch demo

test: setup       ## the quick suite: a few minutes
	@$(PYTEST) -m "not slow"

test-long: setup  ## the long tests, which `make test` leaves out and CI runs after it
	@$(PYTEST) -m slow --timeout=900

test-all: setup   ## every test, properties on 500 cases each
	@HYPOTHESIS_PROFILE=full $(PYTEST) --timeout=3000

check: setup      ## lint, format, types, layering
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: setup     ## bring the code into its one format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

serve: setup      ## the HTTP API on 127.0.0.1:8000; the first start prints a key
	@$(BIN)/vouch serve

bench: setup      ## measure on the data beside the checkout; writes docs/benchmarks.md
	@$(BIN)/python -m bench

bench-retrieval: setup  ## retrieval beside its peers, each in an environment of its own; ARGS="--only txtai"
	@$(BIN)/python -m bench.retrieval $(ARGS)

bench-audit: setup  ## what the record costs and how fast it is checked; ARGS="tampering offline"
	@$(BIN)/python -m bench.audit $(ARGS)

bench-prompts: setup  ## what prompts add to an answer, and how fast they are searched; ARGS="answer search"
	@$(BIN)/python -m bench.prompts $(ARGS)

bench-workflows: setup  ## what a step of a workflow costs, many runs at once; ARGS="steps many waiting"
	@$(BIN)/python -m bench.workflows $(ARGS)

clean:            ## remove everything that make and the tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
