#!/usr/bin/env bash
# Submits a script of nets/ to the cluster that is there (seven, Slurm or Kubernetes):
#   ./scripts/run_seven.sh [-n N] [-j NAME] [--cluster=auto|seven|slurm|kubernetes] [--dry_run] nets/resnet_at_ilsvrc12_run.py --learner dis-chn-pruned
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
ensure_env
exec "$python" -m secateur.utils.cluster_run "$@"
