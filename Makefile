# Everything a person does here, one word each. `make demo` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that the tests run in; each uses one thread.
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-all mutations lint docs site conformance bench bench-fused gpu peers publish clean

$(VENV)/.installed: pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.installed  ## set up, list the zoo, predict twelve properties of six molecules beside their references
	$(BIN)/zoo list
	$(BIN)/zoo predict nequip-qm9 examples/*.xyz

test: $(VENV)/.installed  ## every promise once, which is what CI runs: at most ten minutes on two cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-all: $(VENV)/.installed  ## everything: every model, every fault, clean environments; at most thirty minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

mutations: $(VENV)/.installed  ## whether the tests notice wrong code; hours, and can be interrupted
	$(BIN)/python tests/mutations/run.py --workers $(WORKERS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed  ## tables in the documentation, from the cards; docs/reference/, from the code
	$(BIN)/python docs/make_tables.py
	$(BIN)/python docs/make_reference.py

site: $(VENV)/.installed  ## build/site: the documentation with search, and the gallery of models
	$(PIP) install -q -c constraints.txt -e ".[docs]"
	$(BIN)/python docs/make_site.py build/site

conformance: $(VENV)/.installed  ## docs/experiments/conformance.md, from checking everything that comes with the zoo
	$(BIN)/python docs/make_conformance.py

peers: $(VENV)/.installed  ## re-create tests/reference/*.safetensors from the other packages
	$(BIN)/python tests/reference/make.py

bench-fused: $(VENV)/.installed  ## what each hand-fused operation gains over its plain form
	$(BIN)/python benchmarks/fused.py

bench: $(VENV)/.installed  ## speed against the peers, in one run; what `zoo list` costs
	$(BIN)/python benchmarks/bench_peers.py
	$(BIN)/python benchmarks/describe.py

gpu: $(VENV)/.installed  ## tests, training and speed on a GPU, in one report; REHEARSE=1 does a little of all on a CPU
	$(BIN)/python benchmarks/gpu.py $(if $(REHEARSE),--rehearse) $(if $(QM9),--qm9 $(QM9))

publish: $(VENV)/.installed  ## push every model of registry.yaml and pin it: make publish ORG=name [TAG=v1.0]
	$(if $(ORG),,$(error say where to: make publish ORG=name))
	$(BIN)/zoo publish --org $(ORG) $(if $(TAG),--tag $(TAG))
	git diff --quiet -- registry.yaml || git commit -q -m "Pin the models at $(ORG)$(if $(TAG), $(TAG))" -- registry.yaml

clean:
	rm -rf $(VENV) build *.egg-info
