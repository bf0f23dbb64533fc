import pytest

from secateur.utils import launch
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
