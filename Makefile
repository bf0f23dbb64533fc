# Chores. `make check` is what CI runs after the example.
.PHONY: check format lock audit

check:
	./scripts/run_tests.sh

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

compile := .venv/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# Names, versions and hashes of everything that the scripts install; no index address is written.
lock:
	$(compile) --extra dev --output-file requirements.lock pyproject.toml
	$(compile) --extra gpu --constraint requirements.lock --output-file requirements.gpu.lock pyproject.toml
	.venv/bin/python tools/oldest.py | $(compile) --output-file requirements.oldest.lock -

# Known weaknesses of everything that the scripts install, from PyPI's advisories; what cannot be looked up is an error.
audit:
	python3 -m venv build/audit
	build/audit/bin/python -m pip install --quiet pip-audit
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes \
		-r requirements.lock -r requirements.gpu.lock -r requirements.oldest.lock
