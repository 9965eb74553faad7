# Everything a newcomer needs: `make demo` and `make test`.

PYTHON ?= python3
UV     := .uv/bin/uv
BIN    := .venv/bin
STAMP  := .venv/.synced
GET    := apt-get -o Acquire::Retries=3
APT    := rabbitmq-server dcmtk chromium orthanc orthanc-dicomweb tesseract-ocr $(shell command -v npm >/dev/null || echo nodejs npm)

.PHONY: demo up test check fix servers viewer docs k8s helm secrets bench-flow bench-ingest bench-anonymize bench-pixels bench-storage clean
.DEFAULT_GOAL := demo

demo: $(STAMP)            ## the main job, end to end, on embedded defaults
	$(BIN)/radrelay demo

up: $(STAMP)              ## the seven services in one process, until you stop it
	$(BIN)/radrelay up

test: $(STAMP) servers viewer check  ## every check and every test, on real servers
	$(BIN)/pytest

check: $(STAMP)           ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP)             ## what the tools can mend by themselves
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

servers:                  ## RabbitMQ, dcmtk, Orthanc and Chromium from Debian; the others come from PyPI with .venv
	@missing=""; for package in $(APT); do dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && $(GET) update -qq && \
	   RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $(GET) install -y -qq --no-install-recommends $$missing >/dev/null; \
	then echo "installed:$$missing"; \
	else echo "not installed:$$missing — the tests that need them are skipped." \
	          "To run them: sudo apt-get install$$missing"; fi

docs: $(STAMP)            ## docs/flow.md and docs/asyncapi.yaml from the services' own tables
	$(BIN)/python scripts/make_docs.py

viewer: $(STAMP) servers  ## the OHIF viewer in .radrelay/viewer, which `radrelay up` serves at /viewer
	$(BIN)/python scripts/get_viewer.py

k8s: $(STAMP)             ## plain manifests from the chart
	$(BIN)/python scripts/render_k8s.py

helm: $(STAMP)            ## a helm binary in .uv/helm
	$(BIN)/python scripts/get_helm.py

secrets: $(STAMP)         ## every secret of an installation, once, in deploy/secrets
	$(BIN)/python scripts/make_secrets.py

bench-flow: $(STAMP) servers  ## studies per second through seven processes
	PYTHONPATH=tests $(BIN)/python -m benchmarks.flow

bench-ingest: $(STAMP) servers  ## images per second over C-STORE, beside Orthanc, dcmtk and pynetdicom
	PYTHONPATH=tests $(BIN)/python -m benchmarks.ingest

bench-anonymize: $(STAMP)  ## de-identified files per second and leaks, beside six other tools
	PYTHONPATH=tests $(BIN)/python -m benchmarks.anonymize

bench-pixels: $(STAMP) servers  ## burned-in text: how much is hidden, what tesseract still reads, what is lost with it
	PYTHONPATH=tests $(BIN)/python -m benchmarks.pixels

bench-storage: $(STAMP)  ## seconds to read and find studies over DICOMweb, beside Orthanc
	PYTHONPATH=tests $(BIN)/python -m benchmarks.storage

clean:
	rm -rf .venv .uv .radrelay

$(UV):
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv

$(STAMP): $(UV) pyproject.toml uv.lock shared/pyproject.toml deploy/local/pyproject.toml $(wildcard services/*/pyproject.toml)
	UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --frozen --quiet --compile-bytecode --python $(PYTHON) --all-packages --all-groups --all-extras
	@touch $@
