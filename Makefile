# Two commands from a bare clone: `make quickstart` and `make test`. Both set up .venv once and reuse it, also offline.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
.PHONY: quickstart test test-all bench check wheel lock format clean
.DELETE_ON_ERROR:

quickstart: $(READY)
	$(BIN)/l2l quickstart

test: $(READY) check wheel
	$(BIN)/pytest -n 2 -m "not slow"

test-all: $(READY) check wheel
	$(BIN)/pytest -n 2

bench: $(READY)
	$(BIN)/python -m tests.speed

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A wheel in an environment of its own, away from the source tree, must be able to do the main things.
wheel: $(READY)
	$(BIN)/python tests/check_wheel.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# pip alone may pair torch with a torchvision that does not import; uv resolves both, and is quicker.
# sync and install take what is pinned in constraints.txt, checked by hash; nothing is fetched when the stamp is newer.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; run make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# New pins for the development environment. torch and its two are pinned as the trio that is known to import.
lock: $(READY)
	printf 'torch==2.13.0\ntorchvision==0.28.0\ntorchaudio==2.11.0\n' | $(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --python-version 3.11 --group dev --constraint - \
		pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
