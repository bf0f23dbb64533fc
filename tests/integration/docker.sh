#!/usr/bin/env bash
# A real docker engine builds the image and runs the digits task in a container, to the end and with its results kept.
# As root, on Debian (installs docker.io and debootstrap if they are missing); no image registry is needed:
#   ./tests/integration/docker.sh
# PIP_CONF=FILE: pip's configuration inside the image, where the machine has one of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=${WORK:-$(mktemp -d)}
mkdir -p "$work/run"
export DOCKER_HOST=unix://$work/docker.sock

command -v dockerd debootstrap >/dev/null ||
    apt-get install -y -qq --no-install-recommends docker.io debootstrap >"$work/apt.log"

# No firewall rules and no bridge, so that it runs inside a container or a small virtual machine too.
dockerd --iptables=false --bridge=none --storage-driver="${STORAGE_DRIVER:-vfs}" --host="$DOCKER_HOST" \
    --data-root="$work/data" --exec-root="$work/exec" --pidfile="$work/dockerd.pid" >"$work/dockerd.log" 2>&1 &
trap 'kill "$(cat "$work/dockerd.pid")"' EXIT
for _ in $(seq 60); do [ -S "$work/docker.sock" ] && break || sleep 1; done

if [ ! -d "$work/base" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base" >"$work/debootstrap.log"
    cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
    [ -z "${PIP_CONF:-}" ] || cp "$PIP_CONF" "$work/base/etc/pip.conf"
fi
source scripts/setup_env.sh
ensure_env
"$python" - "$work/base" <<'PYTHON'
import subprocess
import sys

import docker

archive = subprocess.Popen(["tar", "-C", sys.argv[1], "-c", "."], stdout=subprocess.PIPE)
docker.from_env(timeout=900).api.import_image_from_stream(archive.stdout, repository="local/base", tag="bookworm")
PYTHON

(
    cd "$work/run"
    "$OLDPWD/scripts/run_docker.sh" --dry_run --device=cpu --network=host --base=local/base:bookworm \
        nets/resnet_at_digits_run.py --learner dis-chn-pruned
    "$OLDPWD/scripts/run_docker.sh" --device=cpu --network=host --base=local/base:bookworm \
        nets/resnet_at_digits_run.py --learner dis-chn-pruned
    # What the program inside cannot do comes out as its message and its exit code.
    code=0
    "$OLDPWD/scripts/run_docker.sh" --device=cpu --network=host --base=local/base:bookworm \
        nets/resnet_at_digits_run.py --learner dis-chn-pruned --dcp_prune_ratio 2 || code=$?
    [ "$code" = 2 ]
    # Ctrl-C ends the program inside, with a checkpoint's message or a shell's exit code, and no container is left.
    "$OLDPWD/scripts/run_docker.sh" --device=cpu --network=host --base=local/base:bookworm \
        nets/resnet_at_digits_run.py --learner fcf --log_dir ./stopped &
    for _ in $(seq 600); do ls stopped/*/metrics.jsonl >/dev/null 2>&1 && break || sleep 1; done
    kill -INT $!
    code=0
    wait $! || code=$?
    left=$("$python" -c "import docker; print(len(docker.from_env().containers.list(all=True)))")
    echo "after Ctrl-C: exit code $code, containers left: $left"
    [ "$code" = 130 ] && [ "$left" = 0 ]
)
# A folder that is only read cannot be written from inside: here that of a script of one's own.
mkdir -p "$work/own"
cat >"$work/own/own_at_digits_run.py" <<'PYTHON'
import pathlib

pathlib.Path(__file__).with_name("written").write_text("")
PYTHON
code=0
scripts/run_docker.sh --device=cpu --network=host --base=local/base:bookworm "$work/own/own_at_digits_run.py" \
    2>"$work/own.log" || code=$?
tail -n 1 "$work/own.log"
[ "$code" = 1 ] && [ ! -e "$work/own/written" ] && grep -q "Read-only file system" "$work/own.log"
ls "$work"/run/logs/*dis-chn-pruned*/ | tr '\n' ' '
[ -s "$(echo "$work"/run/logs/*dis-chn-pruned*/model.tflite)" ]
echo
echo "the image was built, the run ended well, its results are here"
