import keras

from secateur.export import peak_memory, save_tflite


def dense(units: int) -> keras.Model:
    inputs = keras.Input((256,))
    return keras.Model(inputs, keras.layers.Dense(units)(inputs))


def test_a_larger_network_needs_more_memory(tmp_path):
    for name, units in (("small", 1), ("large", 16384)):
        save_tflite(dense(units), tmp_path / f"{name}.tflite")
    small, large = peak_memory(tmp_path / "small.tflite"), peak_memory(tmp_path / "large.tflite")
    # The large one has 16 MiB of weights.
    assert large - small > 15 * 2**20


def test_unknown_where_it_cannot_be_measured(tmp_path):
    assert peak_memory(tmp_path / "none.tflite") is None
