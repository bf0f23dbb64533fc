import os
import subprocess
import sys

import pytest

from secateur.utils import cluster, gpus, launch
from secateur.utils.errors import RunError, UsageError

SCRIPT = "nets/resnet_at_digits_run.py"


@pytest.mark.parametrize("own", [["-n=1"], ["-n", "1"], ["--nb_gpus=1"], ["--nb_gpus", "1"], []])
def test_own_flags_are_taken_out_wherever_they_stand(own):
    for argv in ([*own, SCRIPT, "--x", "a b", "--y=-n"], [SCRIPT, "--x", "a b", *own, "--y=-n"]):
        found = launch.parse(argv)
        assert found.script.name == "resnet_at_digits_run.py"
        assert found.arguments == ["--x", "a b", "--y=-n"]
        assert found.nb_gpus == 1


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no script given. usage:"),
        (["nets/none.py"], "no script nets/none.py"),
        ([SCRIPT, "-n=0"], "-n=0: must be a whole number"),
        ([SCRIPT, "-n", "abc"], "-n=abc: must be"),
        ([SCRIPT, "-n"], "-n=: must be"),
        ([SCRIPT, "--device=tpu"], "--device=tpu: must be one of auto, cpu, gpu"),
    ],
)
def test_bad_command_lines(argv, says):
    with pytest.raises(UsageError, match=says):
        launch.parse(argv)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_without_a_script(capsys, word):
    launch.main([word])
    assert "usage: run_local.sh [-n N]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("device", "idle", "visible"),
    [("cpu", [0, 1], "-1"), ("auto", None, "-1"), ("auto", [3, 0], "3"), ("gpu", [2], "2")],
)
def test_device(device, idle, visible):
    assert launch.choose_device(launch.parse([SCRIPT, f"--device={device}"]), idle)[0] == visible


@pytest.mark.parametrize(("device", "idle"), [("gpu", None), ("gpu", []), ("auto", [])])
def test_too_few_idle_gpus_is_an_error_and_no_silent_cpu(device, idle):
    with pytest.raises(RunError, match=r"1 GPU\(s\) wanted, 0 idle.*--device=cpu"):
        launch.choose_device(launch.parse([SCRIPT, f"--device={device}"]), idle)


def test_several_workers_on_a_machine_without_gpus_are_asked_for_by_device():
    launched = launch.parse([SCRIPT, "-n=2"])
    with pytest.raises(UsageError, match=r"-n=2: no nvidia-smi .*--device=cpu"):
        launch.choose_device(launched, None)
    assert launch.choose_device(launch.parse([SCRIPT, "-n=2"]), [5, 3, 1])[0] == "5,3"
    assert launch.choose_device(launch.parse([SCRIPT, "-n=2", "--device=cpu"]), None)[0] == "-1"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A function that carries out a command line beside a fake nvidia-smi; gives its exit code and what it said."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, 10, 1000'\necho '1, 0, 1000'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)

    def start(*argv, **environment):
        command = [sys.executable, "-m", "secateur.utils.launch", *argv]
        found = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
        return found.returncode, found.stdout + found.stderr

    return start


def test_a_gpu_that_tensorflow_does_not_find_is_an_error_and_no_silent_cpu(started):
    code, shown = started(SCRIPT)
    assert code == 1
    assert "running on GPU 1\nerror: a GPU was chosen, but TensorFlow finds none" in shown


@pytest.mark.parametrize(
    ("argv", "environment", "mark"),
    [
        (["--device=auto"], {}, "1"),
        (["--device=cpu"], {gpus.MARK: "1"}, ""),
        (["-n=2"], {}, "1"),
        (["--device=gpu"], {cluster.MARK: "kubernetes", "SECATEUR_JOB": "a", "SECATEUR_WORKERS": "1"}, "1"),
    ],
)
def test_the_program_is_told_whether_a_gpu_was_chosen(started, tmp_path, argv, environment, mark):
    script = tmp_path / "script.py"
    script.write_text(f"import os\nprint('mark', repr(os.environ['{gpus.MARK}']))\n")
    code, shown = started(*argv, str(script), "--verbose", JOB_COMPLETION_INDEX="0", **environment)
    assert code == 0
    assert f"mark {mark!r}" in shown


@pytest.mark.parametrize("arguments", [["--log_dir"], ["--log_dir="]])
def test_several_workers_and_no_folder_for_their_logs(started, arguments):
    code, shown = started("-n=2", "--device=cpu", SCRIPT, *arguments)
    assert code == 2
    assert "error: --log_dir: needs the folder" in shown
