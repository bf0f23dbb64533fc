#!/usr/bin/env bash
# Runs a script of nets/ on this machine:
#   ./scripts/run_local.sh [-n N] [--device=auto|cpu|gpu] nets/resnet_at_digits_run.py --learner dis-chn-pruned
# Makes the environment on the first run. Exit code and signals are the script's own.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
ensure_env
exec "$python" -m secateur.utils.launch "$@"
