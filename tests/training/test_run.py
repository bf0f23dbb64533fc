import errno
import json
import os
import pathlib
import signal

import keras
import numpy as np
import pytest

from secateur.training import checkpoint
from secateur.training.run import Stopped
from secateur.utils.errors import RunError
from tests.training.helpers import Run, open_run


def test_a_stage_runs_once_and_is_restored(tmp_path):
    variable, calls = keras.Variable(np.zeros(3)), []

    def work():
        calls.append(1)
        variable.assign([1.0, 2.0, 3.0])
        return {"epochs": 4}

    for _ in range(2):
        run = open_run(tmp_path)
        variable.assign(np.zeros(3))
        with run.open():
            assert run.stage("s", work, [variable]) == {"epochs": 4}
        np.testing.assert_array_equal(variable, [1.0, 2.0, 3.0])
        assert run.outputs("epochs") == {"s": 4}
        assert run.seconds["s"] >= 0
    assert len(calls) == 1


def test_a_damaged_stage_runs_again(tmp_path, capsys):
    calls = []
    for _ in range(2):
        with open_run(tmp_path).open() as run:
            run.stage("s", lambda: calls.append(1))
        (tmp_path / "stages" / "s.npz").write_bytes(b"rubbish")
    assert len(calls) == 2
    assert "is damaged: the stage s runs again" in capsys.readouterr().err


def test_the_last_two_checkpoints_are_kept_and_the_newest_readable_one_is_used(tmp_path, capsys):
    run, variable = open_run(tmp_path), keras.Variable(0.0)
    for step in (5, 10, 15):
        variable.assign(float(step))
        run.save_checkpoint("s", step, [variable], 1.0)
    paths = sorted((tmp_path / "checkpoints" / "s").iterdir())
    assert [path.name for path in paths] == ["step-000000010.npz", "step-000000015.npz"]
    paths[1].write_bytes(paths[1].read_bytes()[:50])
    assert run.restore_checkpoint("s", [variable]) == 10
    assert float(variable) == 10.0
    assert "using the one before" in capsys.readouterr().err
    assert not paths[1].exists()  # so that it takes no good one's place
    run.save_checkpoint("s", 20, [variable], 1.0)
    assert run.restore_checkpoint("s", [variable]) == 20
    assert len(list((tmp_path / "checkpoints" / "s").glob("*.npz"))) == 2


def test_a_damaged_stage_goes_on_from_its_last_checkpoint(tmp_path):
    variable = keras.Variable(0.0)

    def work():
        run.restore_checkpoint("s", [variable])
        for step in range(int(variable) + 1, 6):
            variable.assign(float(step))
            run.save_checkpoint("s", step, [variable], 0.0)

    with open_run(tmp_path).open() as run:
        run.stage("s", work, [variable])
    (tmp_path / "stages" / "s.npz").write_bytes(b"rubbish")
    variable.assign(0.0)
    with open_run(tmp_path).open() as run:
        assert run.restore_checkpoint("s", [variable]) == 5
        run.stage("s", work, [variable])
        run.stage("next", lambda: None)
    assert not list((tmp_path / "checkpoints").rglob("*.npz"))


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    """Which did not keep the steps since the last line of metrics."""
    run, variable = open_run(tmp_path), keras.Variable(0.0)
    path = tmp_path / "checkpoints" / "s" / "step-000000005.npz"
    path.parent.mkdir(parents=True)
    checkpoint.save(path, checkpoint.arrays_of([keras.Variable(3.0)]), {"step": 5, "seconds": 1.0})
    assert run.restore_checkpoint("s", [variable]) == 5
    assert (float(variable), run.unlogged["s"]) == (3.0, [])


def test_a_checkpoint_of_another_network_is_refused_and_stays(tmp_path):
    run = open_run(tmp_path)
    run.save_checkpoint("s", 5, [keras.Variable(np.zeros(3))], 1.0)
    with pytest.raises(RunError, match=r"belongs to another network: 1 arrays for 1, .* choose another --log_dir"):
        run.restore_checkpoint("s", [keras.Variable(np.zeros(4))])
    assert run.restore_checkpoint("s", [keras.Variable(np.zeros(3))]) == 5


def test_a_file_that_cannot_be_read_is_no_damaged_one(tmp_path, monkeypatch):
    run, variable = open_run(tmp_path), keras.Variable(2.0)
    run.stage("done", lambda: None, [variable])
    run.save_checkpoint("s", 5, [variable], 1.0)
    message = r"cannot be read \(Input/output error\): make it readable"
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "read_bytes", refused)
        with pytest.raises(RunError, match=message):
            run.restore_checkpoint("s", [variable])
        with pytest.raises(RunError, match=message):
            run.stage("done", lambda: None, [variable])
    assert run.restore_checkpoint("s", [variable]) == 5


def refused(path):
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    run = open_run(tmp_path)
    run.save_checkpoint("s", 5, [keras.Variable(1.0)], 1.0)
    (whole,) = (tmp_path / "checkpoints" / "s").iterdir()
    whole.with_name(f".{whole.name}.0123abcd.tmp").write_bytes(b"half")
    with run.open():
        assert list(whole.parent.iterdir()) == [whole]


def test_sigterm_between_two_stages_is_heard(tmp_path):
    calls = []
    with open_run(tmp_path).open() as run:
        run.stage("one", lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped, match="stopped before two: the same command continues there"):
            run.stage("two", lambda: calls.append("two"))
    with open_run(tmp_path).open() as run:
        run.stage("one", lambda: calls.append("one"))
        run.stage("two", lambda: calls.append("two"))
    assert calls == ["two"]


def test_metrics_after_the_checkpoint_are_written_once(tmp_path):
    with open_run(tmp_path).open() as run:
        for step in (1, 2, 3):
            run.log("s", step, {"loss": float(step)})
        run.log("other", 9, {"loss": 0.0})
        run.save_checkpoint("s", 2, [], 0.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "s", "st')  # cut off by a kill
    with open_run(tmp_path).open() as run:
        assert run.restore_checkpoint("s", []) == 2
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("s", 1), ("s", 2), ("other", 9)]
    assert list((tmp_path / "events").iterdir())


def test_two_runs_do_not_share_a_directory(tmp_path):
    with (
        open_run(tmp_path).open(),
        pytest.raises(RunError, match="is in use by another run"),
        open_run(tmp_path).open(),
    ):
        pass


def test_two_runs_do_not_share_the_directory_of_their_state(tmp_path):
    with (
        open_run(tmp_path / "a", state_directory=tmp_path / "state").open(),
        pytest.raises(RunError, match="state is in use by another run"),
        open_run(tmp_path / "b", state_directory=tmp_path / "state").open(),
    ):
        pass


def test_directory_of_another_configuration_is_refused(tmp_path):
    with open_run(tmp_path).open():
        pass
    with pytest.raises(RunError, match="another configuration: choose another --log_dir"), Run(tmp_path, {}).open():
        pass
    assert json.loads((tmp_path / "config.json").read_text()) == {"some": "config"}


def test_sigterm_asks_for_a_stop_and_the_handler_is_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with open_run(tmp_path).open() as run:
        os.kill(os.getpid(), signal.SIGTERM)
        assert run.stop_requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_state_may_lie_elsewhere(tmp_path):
    with open_run(tmp_path / "a", state_directory=tmp_path / "b").open() as run:
        run.stage("s", lambda: None)
    assert (tmp_path / "b" / "stages" / "s.npz").is_file()
    assert not (tmp_path / "a" / "stages").exists()


@pytest.mark.parametrize(
    ("save_step", "step", "due"), [(3, 6, True), (3, 7, False), (None, 500, True), (None, 501, False)]
)
def test_when_a_checkpoint_is_due(tmp_path, save_step, step, due):
    import time

    assert open_run(tmp_path, save_step=save_step).checkpoint_due(step, time.monotonic()) is due


def test_two_minutes_are_due(tmp_path):
    assert open_run(tmp_path).checkpoint_due(7, -1e9)


def test_a_stage_with_a_key_is_shared_by_runs_side_by_side(tmp_path):
    made = []

    def make():
        made.append(1)
        variable.assign(7.0)
        return {"answer": 42}

    for name, key in (("first", "a"), ("second", "a"), ("third", "b")):
        variable = keras.Variable(0.0)
        with Run(tmp_path / name, {"name": name}).open() as run:
            assert run.stage("joint", make, [variable], key=key) == {"answer": 42}
        assert float(variable) == 7.0
    assert len(made) == 2
    assert not list(tmp_path.glob("*/stages/joint.npz"))
