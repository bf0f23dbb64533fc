#!/usr/bin/env bash
# Makes .venv beside the sources, once, from the lock file. Sourced by the other scripts; sets $root and $python.
# A stamp with the checksum of what was installed tells a finished environment from a half-finished one. CUDA's libraries
# have a stamp of their own, so that machines with and without a GPU can share the environment.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Another environment: name its folder and its lock files before sourcing.
venv=${venv:-$root/.venv}
lock_file=${lock_file:-$root/requirements.lock}
# CUDA's libraries, installed on top where nvidia-smi is; empty: never.
cuda_lock_file=${cuda_lock_file-$root/requirements.gpu.lock}
python=$venv/bin/python

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
            >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11, 3.12 or 3.13 with venv on this machine: install one (Debian, Ubuntu: apt install" \
        "python3 python3-venv) or name it with PYTHON=/path/to/python3" >&2
    return 1
}

pip_install() {
    "$python" -m pip --disable-pip-version-check install "$@"
}

install_program() {
    pip_install --require-hashes -r "$lock_file" &&
        pip_install --no-build-isolation --no-deps -e "$root"
}

install_cuda() {
    pip_install --require-hashes -r "$cuda_lock_file"
}

checksum() {
    cat "$@" | sha256sum | cut -d ' ' -f 1
}

# is_done STAMP FILE...: whether what the files ask for is installed.
is_done() {
    [ -x "$python" ] && [ "$(cat "$venv/$1" 2>/dev/null)" = "$(checksum "${@:2}")" ]
}

# install FUNCTION STAMP FILE...
install() {
    local log=$venv/install.log
    if ! "$1" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "error: the installation failed; all of its output is in $log. The same command tries again" >&2
        return 1
    fi
    checksum "${@:3}" >"$venv/$2"
}

make_env() {
    local sources=("$lock_file" "$root/pyproject.toml") base
    if ! is_done installed "${sources[@]}"; then
        base=$(find_python)
        echo "installing into $venv (once, some minutes)" >&2
        "$base" -m venv "$venv"
        install install_program installed "${sources[@]}"
    fi
    if [ -n "$cuda_lock_file" ] && command -v nvidia-smi >/dev/null && ! is_done installed-cuda "$cuda_lock_file"; then
        echo "installing CUDA's libraries into $venv (once, some minutes)" >&2
        install install_cuda installed-cuda "$cuda_lock_file"
    fi
}

# Two scripts started at once must not install into each other.
ensure_env() {
    (
        flock 9
        make_env
    ) 9>"$venv.lock"
}
