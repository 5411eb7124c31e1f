.PHONY: check test format ci nightly docs

check:  ## What CI checks, without tests
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test:
	pytest

docs:  ## The pages as a site, in site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

format:
	ruff check --fix .
	ruff format .

ci:  ## Everything, from a new virtual environment
	bash .ci/run

nightly:  ## All slow tests, the lowest dependencies, other versions of Python, and the image
	bash .ci/nightly
