# Chores. `make check` is what CI runs after the example.
.PHONY: check format lock

check:
	./scripts/run_tests.sh

format:
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Names, versions and hashes of everything that the scripts install; no index address is written.
lock:
	.venv/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --extra dev \
		--output-file requirements.lock pyproject.toml
	.venv/bin/python tools/oldest.py | .venv/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements.oldest.lock -
