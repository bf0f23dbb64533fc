#!/usr/bin/env bash
# Makes the environment if need be, then: style, types, tests. Arguments go to pytest.
#   ./scripts/run_tests.sh --all     also every learner on every network at full size, which takes hours
#   ./scripts/run_tests.sh --oldest  the core of the suite on the oldest versions that pyproject.toml admits, in an
#                                    environment of its own
set -euo pipefail

if [ "${1:-}" = --oldest ]; then
    shift
    folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    # The oldest NumPy and SciPy have no packages for Python 3.13.
    export PYTHON=${PYTHON:-$(command -v python3.11 || command -v python3.12 || echo python3)}
    venv=$folder/.venv-oldest lock_file=$folder/requirements.oldest.lock cuda_lock_file=
    source "$folder/scripts/setup_env.sh"
    ensure_env
    cd "$root"
    export CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=3 TF_NUM_INTRAOP_THREADS=1
    exec "$python" -m pytest -n 2 --dist worksteal tests/pruning tests/export tests/training "$@"
fi
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
ensure_env
cd "$root"
export CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=3 TF_NUM_INTRAOP_THREADS=1
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
if [ "${1:-}" = --all ]; then
    shift
    set -- -m "full_size or not full_size" "$@"
fi
# Two processes of one thread each: tracing is single-threaded. Each begins with its half of the tests, so that fixtures of
# a module are made once or twice.
exec "$python" -m pytest -n 2 --dist worksteal --durations=40 --durations-min=5 "$@"
