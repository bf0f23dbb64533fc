import keras
import numpy as np
import pytest

from secateur.training import checkpoint


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


def test_altered_bytes_are_noticed(tmp_path):
    path = tmp_path / "c.npz"
    checkpoint.save(path, checkpoint.arrays_of(variables((20, 20))), {})
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(data)
    with pytest.raises(checkpoint.DamagedCheckpoint):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("shapes", "says"), [(((2, 3), (5,)), r"\(4,\) instead of \(5,\)"), (((2, 3),), "another number")]
)
def test_checkpoint_of_another_network(shapes, says):
    arrays = checkpoint.arrays_of(variables((2, 3), (4,)))
    with pytest.raises(checkpoint.DamagedCheckpoint, match=f"c belongs to another network.*{says}"):
        checkpoint.assign(variables(*shapes), arrays, "c")
