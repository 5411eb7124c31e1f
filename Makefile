.PHONY: check test format ci

check:  ## What CI checks, without tests
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test:
	pytest

format:
	ruff check --fix .
	ruff format .

ci:  ## Everything, from a new virtual environment
	bash .ci/run
