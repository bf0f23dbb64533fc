import keras
import pytest

from secateur.training.checkpoint_folder import CheckpointFolder


@pytest.fixture
def checkpoints(tmp_path):
    """Three checkpoints of stage "a", one of stage "b"."""
    folder = CheckpointFolder(tmp_path, print)
    for stage, step in (("a", 5), ("a", 100), ("a", 20), ("b", 7)):
        folder.save(stage, step, [keras.Variable(float(step))], {"step": step})
    return folder


def steps(folder, stage):
    return [int(path.stem.partition("-")[2]) for path in folder.oldest_first(stage)]


def test_they_are_in_the_order_of_their_steps(checkpoints):
    assert steps(checkpoints, "a") == [5, 20, 100]
    assert steps(checkpoints, "none") == []


@pytest.mark.parametrize(("keep", "left"), [(0, []), (2, [20, 100]), (4, [5, 20, 100]), (9, [5, 20, 100])])
def test_the_newest_are_kept(checkpoints, keep, left):
    checkpoints.forget("a", keep)
    assert steps(checkpoints, "a") == left
    assert steps(checkpoints, "b") == [7]


def test_a_finished_stage_leaves_its_last_one_and_none_of_the_stages_before(checkpoints):
    checkpoints.forget_all_but_last_of("a")
    assert (steps(checkpoints, "a"), steps(checkpoints, "b")) == ([100], [])


def test_the_newest_is_restored(checkpoints):
    variable = keras.Variable(0.0)
    assert checkpoints.restore("a", [variable]) == {"step": 100}
    assert float(variable) == 100
    assert checkpoints.restore("none", [variable]) is None
    assert float(variable) == 100


def test_a_damaged_one_no_longer_counts_and_stays_to_be_looked_at(checkpoints, capsys):
    path, variable = checkpoints.path("a", 100), keras.Variable(0.0)
    path.write_bytes(b"x")
    assert checkpoints.restore("a", [variable]) == {"step": 20}
    assert "step-000000100.npz cannot be read" in capsys.readouterr().out
    assert steps(checkpoints, "a") == [5, 20]
    assert path.with_suffix(".damaged").read_bytes() == b"x"
