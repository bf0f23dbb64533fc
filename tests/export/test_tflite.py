import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from secateur.export import TFLITE_TOLERANCE, EquivalenceError, LiteModel, check_equivalence, save_tflite, to_tflite
from secateur.nets.resnet import resnet
from secateur.pruning import mask, shrink
from secateur.training.precision import to_training
from secateur.utils.errors import RunError

PICTURES = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 1)).astype(np.float32)


@pytest.fixture
def model(randomise):
    return randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=8))


@pytest.mark.parametrize("form", ["stock", "training"])
def test_file_gives_the_logits_of_the_model(model, tmp_path, form):
    exported = to_training(model, "bfloat16") if form == "training" else model
    (tmp_path / "model.tflite").write_bytes(to_tflite(exported))
    lite = LiteModel(tmp_path / "model.tflite")
    assert lite.input_shape == (1, 8, 8, 1)
    error = check_equivalence("forms", model(PICTURES), lite.predict(PICTURES), TFLITE_TOLERANCE)
    assert error < TFLITE_TOLERANCE


@pytest.mark.parametrize("empty", [False, True])
def test_shrunk_file_equals_the_masked_model(model, tmp_path, empty):
    keep = {"stage1_block1_conv1": [] if empty else [0, 3, 7], "stage2_block1_conv1": list(range(1, 32, 2))}
    (tmp_path / "model.tflite").write_bytes(to_tflite(shrink(model, keep)))
    found = LiteModel(tmp_path / "model.tflite").predict(PICTURES)
    check_equivalence("masked and .tflite", mask(model, keep)(PICTURES), found, TFLITE_TOLERANCE)


def test_a_planted_wrong_slice_is_caught(model, tmp_path):
    keep, wrong = {"stage2_block1_conv1": [0, 1, 2, 3]}, {"stage2_block1_conv1": [0, 1, 2, 4]}
    (tmp_path / "model.tflite").write_bytes(to_tflite(shrink(model, wrong)))
    found = LiteModel(tmp_path / "model.tflite").predict(PICTURES)
    with pytest.raises(EquivalenceError, match=r"masked and \.tflite differ"):
        check_equivalence("masked and .tflite", mask(model, keep)(PICTURES), found, TFLITE_TOLERANCE)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(RunError, match=r"no \.tflite file at .*--exec_mode train"):
        LiteModel(tmp_path / "none.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"not a flatbuffer")
    with pytest.raises(RunError, match=r"bad\.tflite is not a readable"):
        LiteModel(tmp_path / "bad.tflite")


def test_int8_takes_the_pictures_as_they_are_and_gives_float_logits(model, tmp_path):
    path = tmp_path / "model.tflite"
    save_tflite(model, path, "int8", PICTURES)
    details = Interpreter(model_path=str(path)).get_input_details()[0]
    assert (details["dtype"], details["quantization"]) == (np.uint8, (1.0, 0))
    found = LiteModel(path).predict(np.rint(PICTURES))
    assert found.dtype == np.float32
    assert found.shape == (6, 3)


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 3)])
def test_int8_of_values_that_are_no_pixels_keeps_their_range(randomise, tmp_path, shape):
    inputs = keras.Input(shape)
    layer = keras.layers.Conv2D if len(shape) == 3 else keras.layers.Conv1D
    x = layer(8, 3, activation="relu")(inputs)
    model = randomise(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x))))
    values = np.random.default_rng(0).uniform(-1, 1, (32, *shape)).astype(np.float32)
    path = tmp_path / "model.tflite"
    save_tflite(model, path, "int8", values)
    details = Interpreter(model_path=str(path)).get_input_details()[0]
    assert details["dtype"] == np.int8
    assert details["quantization"][0] == pytest.approx(2 / 255, rel=0.05)
    expected = np.asarray(model(values))
    assert np.abs(LiteModel(path).predict(values) - expected).max() < 0.1 * np.abs(expected).max()


def test_int8_of_pixels_of_any_rank_takes_bytes(randomise, tmp_path):
    inputs = keras.Input((12, 3))
    x = keras.layers.Flatten()(keras.layers.Conv1D(4, 3)(inputs))
    pixels = np.random.default_rng(0).uniform(0, 200, (8, 12, 3)).astype(np.float32)
    save_tflite(randomise(keras.Model(inputs, keras.layers.Dense(3)(x))), tmp_path / "model.tflite", "int8", pixels)
    details = Interpreter(model_path=str(tmp_path / "model.tflite")).get_input_details()[0]
    assert (details["dtype"], details["quantization"]) == (np.uint8, (1.0, 0))


def test_quantized_files_are_smaller(randomise):
    model = randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=14))
    full, half, eighth = (len(to_tflite(model, kind, PICTURES)) for kind in ("none", "float16", "int8"))
    assert half < 0.6 * full
    assert eighth < 0.36 * full


def test_share_of_delegated_operators(model, tmp_path):
    save_tflite(model, tmp_path / "model.tflite")
    assert LiteModel(tmp_path / "model.tflite").delegated_share() == 1.0
    # XNNPACK has no SELU: what follows it is a second delegate.
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, activation="selu")(inputs)
    mixed = keras.Model(inputs, keras.layers.Conv2D(2, 3)(x))
    save_tflite(mixed, tmp_path / "mixed.tflite")
    assert 0.5 < LiteModel(tmp_path / "mixed.tflite").delegated_share() < 1
