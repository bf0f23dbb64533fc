import pytest

from secateur.utils.errors import RunError
from tests.datasets.shards import broken_shards, values


def test_broken_pictures_are_named_and_left_out(tmp_path, capfd):
    data = broken_shards(tmp_path, count=6)
    found = [value for images, _ in data.eval_batches(2) for value in values(images)]
    assert found == [60, 70, 80, 90]
    # They are decoded in parallel: in no order.
    assert sorted(data.damage.names) == [f"{k}.JPEG" for k in range(6)]
    shown = capfd.readouterr().err
    assert all(f"{k}.JPEG is broken and left out" in shown for k in range(6))
    assert "(6 so far)" in shown


def test_training_goes_on_around_a_picture_that_is_broken_inside(tmp_path):
    data = broken_shards(tmp_path, count=1)
    batches = iter(data.train_batches(5, seed=3))
    assert [len(next(batches)[1]) for _ in range(8)] == [4] * 8
    assert data.damage.names == ["0.JPEG"]


def test_too_many_broken_pictures_end_the_run(tmp_path):
    data = broken_shards(tmp_path, count=3)
    data.damage.limit = 2
    with pytest.raises(RunError, match=r"more than 2 pictures or shards are broken, \d\.JPEG.*restore or delete them"):
        list(data.eval_batches(2))


@pytest.mark.parametrize(("cut", "left"), [(-5, 3), (6, 0)])
def test_a_truncated_shard_is_named_and_its_rest_left_out(tmp_path, capfd, cut, left):
    data = broken_shards(tmp_path, count=0)
    path = tmp_path / "validation-00000-of-00001"
    path.write_bytes(path.read_bytes()[:cut])
    assert sum(len(labels) for _, labels in data.eval_batches(2)) == left
    assert data.damage.names == [str(path)]
    assert f"{path} is cut off after {left} records" in capfd.readouterr().err


def test_an_altered_shard_is_named(tmp_path):
    data = broken_shards(tmp_path, count=0)
    path = tmp_path / "validation-00000-of-00001"
    contents = bytearray(path.read_bytes())
    contents[100] ^= 255
    path.write_bytes(contents)
    with pytest.raises(RunError, match=r"validation-00000-of-00001 is altered: delete it"):
        list(data.eval_batches(2))
