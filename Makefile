# Thin: every target is one command that can be typed by hand. `make help` lists them.
PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install train test lint types notebooks check kernels validate mutants bench bench-gpu lock clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: ## make .venv with dependencies, package and kernels, if not up to date
	@$(PYTHON) bootstrap.py

train: install ## train a ternary network on handwritten digits on the CPU; ARGS="--help" lists options
	$(BIN)/qtheory train $(ARGS)

test: install ## run the tests, a process for each of up to four cores; ARGS="-k dst" picks some
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: install ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## check types
	$(BIN)/pyright

notebooks: install ## run every notebook into build/notebooks; WRITE=1 replaces those whose source changed
	$(BIN)/python notebooks/make.py $(if $(WRITE),--write)

check: lint types test notebooks ## all that the build server runs

kernels: ## compile the kernels into build/native
	@$(PYTHON) bootstrap.py --kernels

validate: install ## prove kernels against reference and law; ARGS="--deep", "--op module:function", "--calibrate 2000"
	$(BIN)/qtheory validate $(ARGS)

mutants: install ## break kernels and packages in a hundred ways and print which test catches each
	$(BIN)/python tests/mutants/run.py

bench: install ## time the weight update on 10^7 weights beside torch and a plain copy
	$(BIN)/qtheory bench update $(ARGS)

bench-gpu: install ## measure a GPU beside what was predicted; ARGS=--dry-run without one
	$(BIN)/qtheory bench gpu --json cuda/benchmarks/gpu.json $(ARGS)

lock: ## choose the newest versions again (needs uv), keeping torch's
	@( sed -n '/^#/p' requirements.lock; ( grep '^torch==' requirements.lock; printf 'cmake\nninja\nscikit-build-core\n' ) | \
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --all-extras pyproject.toml - | \
	grep -vE '^(nvidia|cuda|triton)' ) > requirements.new && mv requirements.new requirements.lock

clean: ## remove what was built; keeps .venv and runs
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
