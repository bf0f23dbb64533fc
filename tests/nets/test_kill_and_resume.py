"""A killed run, started again by the same command, ends with the very same weights."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from secateur.training import checkpoint

SCRIPT = str(pathlib.Path(__file__).resolve().parents[2] / "nets/resnet_at_digits_run.py")
SHORT = [SCRIPT, "--resnet_size=8", "--save_step=5", "--summ_step=3", "--deterministic"]
COMMAND = [sys.executable, *SHORT, "--learner=dis-chn-pruned", "--nb_epochs_rat=0.1", "--batch_size=64"]
COMMAND += ["--dcp_nb_iters_block=12", "--dcp_nb_iters_layer=4", "--dcp_nb_stages=1", "--dcp_nb_smpls=128"]
TWO_WORKERS = [sys.executable, "-m", "secateur.utils.launch", "-n=2", "--device=cpu", *SHORT]
TWO_WORKERS += ["--nb_epochs=1", "--batch_size=32", "--noenbl_layer_latency"]


def start(folder: pathlib.Path, command: list[str]) -> subprocess.Popen:
    command = [*command, f"--log_dir={folder / 'logs'}", f"--save_path={folder / 'models'}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_checkpoint(process: subprocess.Popen, folder: pathlib.Path, stage: str) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(f"logs/*/checkpoints/{stage}/step-*.npz")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop_in(folder: pathlib.Path, stage: str, number: signal.Signals) -> tuple[int, str]:
    """Start the run and send the signal as soon as a checkpoint of the stage appears."""
    process = start(folder, COMMAND)
    await_checkpoint(process, folder, stage)
    os.kill(process.pid, number)
    return process.wait(), process.communicate()[1]


def worker_of(launcher: int, rank: int) -> int:
    """The process of a worker."""
    children = pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    (found,) = [
        int(child)
        for child in children
        if f"LOCAL_RANK={rank}" in pathlib.Path(f"/proc/{child}/environ").read_text().split("\0")
    ]
    return found


def finish(folder: pathlib.Path, command: list[str] = COMMAND) -> str:
    process = start(folder, command)
    _, messages = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    return messages


def stage_arrays(folder: pathlib.Path) -> dict[str, list[np.ndarray]]:
    paths = sorted(folder.glob("logs/*/stages/*.npz"))
    return {f"{path.parts[-3]}/{path.stem}": list(checkpoint.load(path)[0].values()) for path in paths}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    return folder


def assert_same(folder: pathlib.Path, reference: pathlib.Path) -> None:
    found, expected = stage_arrays(folder), stage_arrays(reference)
    assert list(found) == list(expected)
    assert expected
    for name, arrays in expected.items():
        assert all(np.array_equal(a, b) for a, b in zip(found[name], arrays, strict=True)), name


def steps_logged(folder: pathlib.Path) -> list:
    lines = [line for path in sorted(folder.glob("logs/*/metrics.jsonl")) for line in path.read_text().splitlines()]
    return [(entry["stage"], entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


def test_kill_and_termination_in_every_kind_of_stage(undisturbed, tmp_path):
    assert stop_in(tmp_path, "dense", signal.SIGKILL)[0] == -signal.SIGKILL
    assert stop_in(tmp_path, "prune1_block", signal.SIGKILL)[0] == -signal.SIGKILL
    code, messages = stop_in(tmp_path, "fine_tune", signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    assert "stopped at step" in messages
    assert "the same command continues there" in messages
    assert "fine_tune: continues at step" in finish(tmp_path)
    assert_same(tmp_path, undisturbed)
    assert steps_logged(tmp_path) == steps_logged(undisturbed)


def test_one_of_two_workers_is_killed(tmp_path):
    """The other one stops too, and says why; both go on by the same command."""
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    process = start(killed, TWO_WORKERS)
    await_checkpoint(process, killed, "dense")
    os.kill(worker_of(process.pid, 1), signal.SIGKILL)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert "worker 1 was killed by signal 9; the others were stopped: the same command goes on" in messages
    assert "dense: continues at step" in finish(killed, TWO_WORKERS)
    finish(undisturbed, TWO_WORKERS)
    assert_same(killed, undisturbed)
    assert steps_logged(killed) == steps_logged(undisturbed)
