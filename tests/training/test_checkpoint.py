import keras
import numpy as np
import pytest

from secateur.training import checkpoint
from secateur.utils.errors import RunError


def variables(*shapes):
    return [keras.Variable(np.random.default_rng(k).normal(size=shape), name="v") for k, shape in enumerate(shapes)]


def test_round_trip(tmp_path):
    source = [*variables((2, 3), ()), keras.Variable(7, dtype="int64", trainable=False)]
    checkpoint.save(tmp_path / "c.npz", checkpoint.arrays_of(source), {"step": 5})
    target = [*variables((2, 3), ()), keras.Variable(0, dtype="int64", trainable=False)]
    target[0].assign(np.zeros((2, 3)))
    arrays, meta = checkpoint.load(tmp_path / "c.npz")
    checkpoint.assign(target, arrays, "c")
    assert meta == {"step": 5}
    for a, b in zip(source, target, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cut", [0, 10, 200, -20])
def test_truncated_files_are_noticed(tmp_path, cut):
    path = tmp_path / "c.npz"
    checkpoint.save(path, checkpoint.arrays_of(variables((20, 20))), {})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(checkpoint.DamagedCheckpoint, match=r"c\.npz cannot be read"):
        checkpoint.load(path)


def test_altered_bytes_are_noticed_or_harmless(tmp_path):
    """One byte in turn: contents, names, and the archive's own tables, where a bit may ask for a feature of zip."""
    path = tmp_path / "c.npz"
    source = checkpoint.arrays_of(variables((4,)))
    checkpoint.save(path, source, {"step": 3})
    data, noticed = path.read_bytes(), 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            arrays, meta = checkpoint.load(path)
            checkpoint.assign(variables((4,)), arrays, "c")
        except checkpoint.DamagedCheckpoint:
            noticed += 1
            continue
        np.testing.assert_array_equal(next(iter(arrays.values())), next(iter(source.values())))
        assert meta == {"step": 3}
    assert noticed > len(data) // 2


@pytest.mark.parametrize(
    ("shapes", "says"), [(((2, 3), (5,)), r"\(4,\) instead of \(5,\)"), (((2, 3),), "another number")]
)
def test_checkpoint_of_another_network(shapes, says):
    arrays = checkpoint.arrays_of(variables((2, 3), (4,)))
    with pytest.raises(RunError, match=f"c belongs to another network.*{says}"):
        checkpoint.assign(variables(*shapes), arrays, "c")
