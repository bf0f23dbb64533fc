"""The starter of several workers, with scripts that need no TensorFlow in place of training."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from secateur.utils import workers
from secateur.utils.errors import UsageError

PRELUDE = "import json, os, sys, time\nrank = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def start(tmp_path, monkeypatch, body, devices=("-1", "-1")):
    """Run workers whose script is `body`, without the launcher's imports."""
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + body)
    popen = subprocess.Popen

    def plain(command, **settings):
        return popen([sys.executable, str(script), *command[4:]], **settings)

    monkeypatch.setattr(subprocess, "Popen", plain)
    return workers.run(script, [f"--log_dir={tmp_path / 'logs'}", "--x"], devices)


def test_each_worker_knows_who_all_are(tmp_path, monkeypatch):
    body = "open(f'{os.path.dirname(__file__)}/{rank}.json', 'w').write(json.dumps(dict(os.environ)))\nprint('hello')"
    assert start(tmp_path, monkeypatch, body, ("3", "1")) == 0
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    places = [json.loads(environment["TF_CONFIG"]) for environment in found]
    assert places[0]["cluster"] == places[1]["cluster"]
    assert len(set(places[0]["cluster"]["worker"])) == 2
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in found] == ["3", "1"]
    assert [environment["LOCAL_RANK"] for environment in found] == ["0", "1"]
    (log,) = tmp_path.glob("logs/workers/*/rank_1.log")
    assert log.read_text() == "hello\n"


def test_the_first_failure_ends_all_with_its_code_and_message(tmp_path, monkeypatch, capsys):
    body = "if rank == 1:\n    print('error: no data')\n    sys.exit(7)\ntime.sleep(60)"
    begin = time.monotonic()
    assert start(tmp_path, monkeypatch, body) == 7
    assert time.monotonic() - begin < 30
    shown = capsys.readouterr().err
    assert "worker 1 ended with exit code 7; the others were stopped" in shown
    assert "worker 1: error: no data" in shown


def test_a_worker_that_is_killed_ends_all(tmp_path, monkeypatch, capsys):
    body = "if rank == 0:\n    os.kill(os.getpid(), 9)\ntime.sleep(60)"
    assert start(tmp_path, monkeypatch, body) == 128 + 9
    assert "worker 0 was killed by signal 9" in capsys.readouterr().err


def test_the_one_that_was_killed_is_named_before_those_that_fail_without_it(tmp_path, capsys):
    log = tmp_path / "rank_1.log"
    log.write_text("")
    commands = ["exit 1", "kill -9 $$"]
    processes = [subprocess.Popen(["bash", "-c", command]) for command in commands]
    for process in processes:
        process.wait()
    assert workers._wait(processes, [tmp_path / "rank_0.log", log]) == 128 + 9
    shown = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in shown] == [
        "worker 1 was killed by signal 9",
        "worker 0 ended with exit code 1",
    ]


def test_every_start_has_logs_of_its_own_and_the_first_worker_writes_to_both(tmp_path):
    script = tmp_path / "script.py"
    body = "print('out', rank)\nprint('\\r 10 %', end='', file=sys.stderr)\nprint('err', rank, file=sys.stderr)"
    script.write_text(PRELUDE + body)
    command = [sys.executable, "-m", "secateur.utils.launch", "-n=2", "--device=cpu", str(script), "--verbose"]
    for _ in range(2):
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert found.stdout == "out 0\n"
        assert found.stderr.endswith(" 10 %err 0\n")
    folders = sorted(tmp_path.glob("logs/workers/*"))
    assert len(folders) == 2
    for folder in folders:
        assert (folder / "rank_0.log").read_text() == "out 0\nerr 0\n"
        assert "err 1" in (folder / "rank_1.log").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_the_launchers_end_reaches_all(tmp_path, number, code):
    """Of the real program, so that the signal comes from outside."""
    script = tmp_path / "script.py"
    script.write_text(
        PRELUDE + "import signal\n"
        "def end(*_):\n    open(f'{os.path.dirname(__file__)}/{rank}.ended', 'w').close()\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(f'{os.path.dirname(__file__)}/{rank}.ready', 'w').close()\ntime.sleep(60)"
    )
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "secateur.utils.launch", "-n=2", "--device=cpu", str(script), "--verbose"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.ready"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == code
    assert ("ended with exit code 143" in shown) == (number == signal.SIGTERM)
    while len(list(tmp_path.glob("*.ended"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(list(tmp_path.glob("*.ended"))) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["--log_dir=a"], "a"), (["--x", "--log_dir", "b"], "b"), ([], "./logs")]
)
def test_logs_lie_where_runs_do(arguments, expected):
    assert workers._log_dir(arguments) == expected


@pytest.mark.parametrize("arguments", [["--x", "--log_dir"], ["--log_dir="]])
def test_a_log_dir_without_a_folder(arguments):
    with pytest.raises(UsageError, match="--log_dir: needs the folder"):
        workers._log_dir(arguments)
