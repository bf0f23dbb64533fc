import keras
import pytest

from secateur.export import measure, to_tflite


@pytest.fixture
def path(tmp_path):
    inputs = keras.Input((4,))
    (tmp_path / "model.tflite").write_bytes(to_tflite(keras.Model(inputs, keras.layers.Dense(3)(inputs))))
    return tmp_path / "model.tflite"


def test_every_file_gets_the_same_number_of_runs(path):
    found = measure({"a": path, "b": path}, rounds=4)
    assert set(found) == {"a", "b"}
    assert {latency.runs for latency in found.values()} == {40}
    assert all(0 < latency.p10 <= latency.median <= latency.p90 for latency in found.values())
    assert found["a"].threads == 1


def test_time_limit_leaves_three_rounds(path):
    assert measure({"a": path}, rounds=100, seconds=0.0)["a"].runs == 30
