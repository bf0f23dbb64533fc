#!/usr/bin/env bash
# Runs a script of nets/ in a container built from the Dockerfile:
#   ./scripts/run_docker.sh [-n N] [--device=auto|cpu|gpu] [--dry_run] nets/resnet_at_digits_run.py --learner fcf
# --network=NAME: of the engine, for building and running; --base=IMAGE: with Python 3.11 to 3.13, in place of the Dockerfile's.
# Data are mounted read-only, models and logs are kept where they would lie without a container.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
ensure_env
exec "$python" -m secateur.utils.docker_run "$@"
