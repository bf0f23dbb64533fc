#!/usr/bin/env bash
# Makes .venv beside the sources, once, from the lock file. Sourced by the other scripts; sets $root and $python.
# A stamp with the checksum of what was installed tells a finished environment from a half-finished one.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Another environment: name its folder and its lock file before sourcing.
venv=${venv:-$root/.venv}
lock_file=${lock_file:-$root/requirements.lock}
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

install() {
    local pip=("$python" -m pip --disable-pip-version-check install)
    "${pip[@]}" --require-hashes -r "$lock_file" &&
        "${pip[@]}" --no-build-isolation --no-deps -e "$root"
}

make_env() {
    local stamp=$venv/installed log=$venv/install.log base wanted
    wanted=$(cat "$lock_file" "$root/pyproject.toml" | sha256sum | cut -d ' ' -f 1)
    if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    base=$(find_python)
    echo "installing into $venv (once, some minutes)" >&2
    "$base" -m venv "$venv"
    if ! install >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "error: the installation failed; all of its output is in $log. The same command tries again" >&2
        return 1
    fi
    echo "$wanted" >"$stamp"
}

# Two scripts started at once must not install into each other.
ensure_env() {
    (
        flock 9
        make_env
    ) 9>"$venv.lock"
}
