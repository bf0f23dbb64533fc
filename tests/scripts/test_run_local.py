"""The shell script around the launcher: arguments, exit codes, signals, a failed installation."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = """
import json, os, sys, time
print(json.dumps([sys.argv[1:], os.environ["CUDA_VISIBLE_DEVICES"]]), flush=True)
if "--wait" in sys.argv:
    time.sleep(60)
sys.exit(7 if "--fail" in sys.argv else 0)
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the scripts whose environment counts as installed, and a script that prints what it was given."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("requirements.lock", "requirements.gpu.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    stamps = {"installed": "requirements.lock pyproject.toml", "installed-cuda": "requirements.gpu.lock"}
    for stamp, files in stamps.items():
        command = f"cat {files} | sha256sum | cut -d ' ' -f 1 > .venv/{stamp}"
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def start(project, *arguments, path="", **settings):
    environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [str(project / "scripts/run_local.sh"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project, env=environment, **settings,
    )  # fmt: skip


def run(project, *arguments, path=""):
    process = start(project, *arguments, path=path)
    out, messages = process.communicate(timeout=120)
    return process.returncode, out, messages


def test_quoting_is_kept_and_own_flags_are_taken_out(project):
    code, out, _ = run(project, "-n", "1", "probe.py", "--name", "a  b", "--empty=", "--star=*", "--device=cpu")
    assert code == 0
    assert json.loads(out) == [["--name", "a  b", "--empty=", "--star=*"], "-1"]


def test_exit_code_is_the_programs(project):
    assert run(project, "probe.py", "--fail", "--device=cpu")[0] == 7


@pytest.mark.parametrize(("arguments", "says"), [(["-n=2", "probe.py"], "--device=cpu"), (["none.py"], "no script")])
def test_bad_command_lines_leave_with_two(project, arguments, says):
    code, out, messages = run(project, *arguments)
    assert (code, out) == (2, "")
    assert says in messages


def fake_gpus(folder, lines):
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    (folder / "nvidia-smi").chmod(0o755)
    return folder


def test_the_least_used_gpu_is_taken(project, tmp_path):
    path = fake_gpus(tmp_path / "bin", "0, 900, 1000\\n1, 300, 1000\\n2, 100, 1000\\n")
    assert json.loads(run(project, "probe.py", path=path)[1])[1] == "2"


@pytest.fixture
def pip_calls(project):
    """The calls of pip, which does nothing here, and fails where the project has a file `broken`."""
    (project / ".venv" / "installed-cuda").unlink()
    python, log = project / ".venv" / "bin" / "python", project / "pip.log"
    python.write_text(
        f'#!/bin/sh\n[ "$2" = pip ] || exec {sys.executable} "$@"\n'
        f'echo "$*" >> {log}\n! [ -e {project}/broken ] || {{ echo "no such wheel"; exit 1; }}\n'
    )
    return lambda: log.read_text().splitlines() if log.is_file() else []


def test_cudas_libraries_are_installed_once_where_nvidia_smi_is(project, tmp_path, pip_calls):
    path = fake_gpus(tmp_path / "bin", "0, 0, 1000\\n")
    assert run(project, "probe.py", "--device=cpu", "--verbose")[0] == 0
    assert not pip_calls()
    for _ in range(2):
        assert json.loads(run(project, "probe.py", "--verbose", path=path)[1])[1] == "0"
        (call,) = pip_calls()
        assert call.endswith(f"install --require-hashes -r {project}/requirements.gpu.lock")


def test_cudas_libraries_that_cannot_be_installed_are_tried_again(project, tmp_path, pip_calls):
    path = fake_gpus(tmp_path / "bin", "0, 0, 1000\\n")
    (project / "broken").touch()
    code, out, messages = run(project, "probe.py", "--verbose", path=path)
    assert (code, out) == (1, "")
    assert "no such wheel\nerror: the installation failed; all of its output is in" in messages
    (project / "broken").unlink()
    assert run(project, "probe.py", "--verbose", path=path)[0] == 0
    assert len(pip_calls()) == 2


def test_the_lock_of_the_gpus_adds_nothing_but_nvidias_packages():
    def pins(name):
        lines = (ROOT / name).read_text().splitlines()
        return {line.split()[0] for line in lines if "==" in line}

    added = pins("requirements.gpu.lock") - pins("requirements.lock")
    assert {name.partition("-")[0] for name in added} == {"nvidia"}
    assert any(name.startswith("nvidia-cudnn") for name in added)


def test_busy_gpus_are_an_error(project, tmp_path):
    code, out, messages = run(project, "probe.py", path=fake_gpus(tmp_path / "bin", "0, 900, 1000\\n"))
    assert (code, out) == (1, "")
    assert "--device=cpu" in messages


def test_sigterm_reaches_the_program(project):
    process = start(project, "probe.py", "--wait", "--device=cpu")
    assert process.stdout.readline()
    begin = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert time.monotonic() - begin < 30
    process.communicate()


def test_earlier_logs_stay(project):
    (project / "logs").mkdir()
    (project / "logs" / "mine.txt").write_text("keep")
    run(project, "probe.py", "--device=cpu")
    assert (project / "logs" / "mine.txt").read_text() == "keep"


def test_no_suitable_python_is_said(project, tmp_path):
    (project / ".venv" / "installed").write_text("half")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cut", "dirname", "sha256sum", "flock", "env", "tail"):
        (tools / name).symlink_to(shutil.which(name))
    command = [str(project / "scripts/run_local.sh"), "probe.py"]
    found = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tools)})
    assert found.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13" in found.stderr


def test_a_failed_installation_says_where_its_output_is_and_is_tried_again(project, tmp_path):
    (project / ".venv" / "installed").write_text("half")
    (project / "requirements.lock").write_text("no-such-package-at-all==1.0 --hash=sha256:" + "0" * 64 + "\n")
    shutil.rmtree(project / ".venv")
    environment = os.environ | {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0", "PIP_EXTRA_INDEX_URL": ""}
    command = [str(project / "scripts/run_local.sh"), "probe.py"]
    for _ in range(2):
        found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert found.returncode == 1
        assert f"all of its output is in {project}/.venv/install.log. The same command tries again" in found.stderr
