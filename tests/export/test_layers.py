import keras
import pytest

from secateur.export import Latency, layer_costs, layers
from secateur.nets.resnet import resnet
from secateur.pruning import cost


@pytest.fixture(scope="module")
def model():
    return resnet((8, 8, 1), 3, 8, (4, 6, 8))


def test_every_layer_that_multiplies_has_its_count(model):
    found = layer_costs(model, timed=False)
    assert {name: row["macs"] for name, row in found.items()} == cost.layer_macs(model)
    assert not any("ms" in row for row in found.values())


def test_layers_of_equal_work_are_timed_once(model, monkeypatch):
    measured = []

    def measure(paths, rounds, seconds):
        measured.extend(paths)
        return {key: Latency(float(k), 0.0, 0.0, 1, 30) for k, key in enumerate(paths)}

    monkeypatch.setattr(layers, "measure", measure)
    found = layer_costs(model, timed=True)
    assert "ms" not in found["logits"]  # reads no picture
    timed = {name for name, row in found.items() if "ms" in row}
    assert timed == set(found) - {"logits"}
    # Both convolutions of the first block do the same; so nothing of it is measured twice.
    assert found["stage1_block1_conv1"]["ms"] == found["stage1_block1_conv2"]["ms"]
    assert len(measured) == len(timed) - 1


def test_times_are_positive():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    found = layer_costs(keras.Model(inputs, x), timed=True)
    assert set(found) == {"conv", "depthwise"}
    assert all(row["ms"] > 0 for row in found.values())


def test_too_many_different_layers_are_not_timed(model, monkeypatch):
    monkeypatch.setattr(layers, "MOST_TIMED", 2)
    assert not any("ms" in row for row in layer_costs(model, timed=True).values())
