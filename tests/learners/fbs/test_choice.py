import keras
import numpy as np
import pytest

from secateur.export import FORMATS, LiteModel, check_equivalence, forms, measure, save_tflite
from secateur.export.latency import Latency
from secateur.learners.fbs import choice, gated, skipping
from secateur.learners.fbs.skipping import DENSE, OUTPUTS, SKIP
from secateur.nets.layers import conv_norm
from secateur.pruning.calls import record


@pytest.fixture
def model(randomise):
    """Two gates in a row, with an activation between them."""
    inputs = keras.Input((6, 6, 3))
    x = conv_norm(inputs, 8, 3, 1, "first")
    x = conv_norm(keras.layers.ReLU()(x), 6, 3, 1, "second")
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model, generator = gated.gated(randomise(keras.Model(inputs, outputs)), 0.5, "sum", 0.0), np.random.default_rng(2)
    for gate in gated.gate_layers(model):
        gate.phi.assign(generator.normal(0, 0.5, gate.phi.shape))
    return model


@pytest.mark.parametrize("form", [DENSE, OUTPUTS, SKIP])
@pytest.mark.parametrize("nb_live", [None, 4])
@pytest.mark.parametrize("stays", [False, True])
def test_a_gate_alone_is_the_gate_and_is_written_and_timed(model, tmp_path, form, nb_live, stays):
    call = next(c for c in record(model).calls if c.layer.name == "second_gated")
    alone = choice.alone(call, form, nb_live, stays)()
    whole, given = np.random.default_rng(0).uniform(0, 2, (1, 6, 6, 8)).astype(np.float32), []
    if nb_live:
        numbers = np.arange(nb_live, dtype=np.int32)[None]
        live = keras.ops.convert_to_numpy(choice.anywhere(numbers, 8))
        whole[..., np.setdiff1d(np.arange(8), live)] = 0
        given = [whole[..., live], numbers]
    outputs = alone(given or [whole])
    if stays and form != DENSE:
        compact, winners = (keras.ops.convert_to_numpy(part) for part in outputs)
        outputs = np.zeros((1, 6, 6, 6), np.float32)
        outputs[..., winners] = compact
    np.testing.assert_allclose(outputs, call.layer(np.repeat(whole, 2, 0))[:1], rtol=1e-4, atol=1e-5)
    save_tflite(alone, tmp_path / "alone.tflite")
    assert measure({"alone": tmp_path / "alone.tflite"}, rounds=1)["alone"].runs == 10


@pytest.mark.parametrize("form", [DENSE, SKIP])
def test_calls_of_several_outputs(randomise, form):
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="first")(inputs))
    one, other = keras.ops.split(keras.layers.ReLU()(x), 2, axis=-1)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="second")(one))
    x = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(part) for part in (x, other)])
    network = gated.gated(randomise(keras.Model(inputs, x)), 0.5, "paper", 0.0)
    picture = np.random.default_rng(1).uniform(0, 255, (1, 6, 6, 2)).astype(np.float32)
    built = skipping.build(network, dict.fromkeys(("first_gated", "second_gated"), form))
    np.testing.assert_allclose(built(picture), network(np.repeat(picture, 2, 0))[:1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("form", [DENSE, OUTPUTS, SKIP])
@pytest.mark.parametrize("size", [1, 300])
def test_each_form_in_int8_is_the_network_within_its_tolerance(model, tmp_path, form, size):
    """Whatever the size of the saliencies; those of a dark picture are rounded to 0, and nothing is divided by it."""
    pictures = np.random.default_rng(1).integers(0, 256, (32, 6, 6, 3)).astype(np.float32)
    if size > 1:
        for gate in gated.gate_layers(model):
            gate.phi.assign(size * np.abs(gate.phi))
            gate.rho.assign(np.zeros(gate.rho.shape))
    largest = gated.divisors(model, pictures)
    built = skipping.build(model, dict.fromkeys(("first_gated", "second_gated"), form), largest)
    save_tflite(built, tmp_path / "model.tflite", "int8", pictures)
    assert np.isfinite(LiteModel(tmp_path / "model.tflite").predict(pictures[:1] > 254)).all()
    found, expected = LiteModel(tmp_path / "model.tflite").predict(pictures), np.asarray(model(pictures))
    int8 = FORMATS["tflite_int8"]
    assert check_equivalence("int8", expected, found, int8.tolerance, int8.quantile) <= int8.tolerance


@pytest.fixture
def inside(randomise):
    """A block whose first convolution alone is gated, with a stride and a bias behind it."""
    inputs = keras.Input((7, 7, 8))
    x = keras.layers.ReLU()(conv_norm(inputs, 12, 3, 1, "first"))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="second")(x)
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1, strides=2, name="shortcut")(inputs)])
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = gated.gated(randomise(keras.Model(inputs, outputs)), 0.25, "sum", 0.0, scope="block")
    for gate in gated.gate_layers(model):
        gate.phi.assign(np.random.default_rng(2).normal(0, 0.5, gate.phi.shape))
    return model


@pytest.mark.parametrize("first", [DENSE, SKIP])
def test_a_convolution_without_a_gate_reads_what_is_live(inside, tmp_path, first):
    picture = np.random.default_rng(1).uniform(0, 255, (1, 7, 7, 8)).astype(np.float32)
    built = skipping.build(inside, {"first_gated": first, "second": SKIP})
    np.testing.assert_allclose(built(picture), inside(np.repeat(picture, 2, 0))[:1], rtol=1e-4, atol=1e-3)
    save_tflite(built, tmp_path / "built.tflite")
    logits = LiteModel(tmp_path / "built.tflite").predict(picture)
    np.testing.assert_allclose(logits, built(picture), rtol=1e-4, atol=1e-3)


def test_what_it_then_executes(inside):
    """3 of 12 channels at 49 places of 9 x 8, their predictor, then 8 at 16 places of 9 x 3, the shortcut, the end."""
    rest = 16 * 8 * 8 + 8 * 3
    read = choice.executed_macs(inside, {"first_gated": SKIP, "second": SKIP})
    assert read == 49 * 72 * 3 + 8 * 12 + 16 * 9 * 3 * 8 + rest
    put_in_place = choice.executed_macs(inside, {"first_gated": SKIP, "second": DENSE})
    assert put_in_place == 49 * 72 * 3 + 8 * 12 + 49 * 3 * 12 + 16 * 9 * 12 * 8 + rest


@pytest.mark.parametrize("liked", [SKIP, DENSE])
def test_how_it_reads_is_measured_where_the_gate_skips(inside, tmp_path, monkeypatch, liked):
    def clock(files, **settings):
        return {name: Latency(0.5 if name == liked else 1.0, 0, 0, 1, 1) for name in files}

    monkeypatch.setattr(forms, "measure", clock)
    found = choice.fastest(inside, tmp_path)
    assert found["forms"] == {"first_gated": liked, "second": liked}
    # Behind a dense gate nothing is compact, and there is no choice.
    assert set(found["milliseconds"]) == ({"first_gated", "second"} if liked == SKIP else {"first_gated"})


def test_whatever_is_fastest_is_built_and_is_the_network(model, tmp_path, monkeypatch):
    """By a clock that dislikes the dense form; all files are really written and run."""
    order = [OUTPUTS, SKIP, DENSE]

    def disliking(files, **settings):
        assert all(latency.runs == 10 for latency in measure(files, rounds=1).values())
        return {name: Latency(order.index(name) if name in order else -1.0, 0, 0, 1, 1) for name in files}

    monkeypatch.setattr(forms, "measure", disliking)
    found = choice.fastest(model, tmp_path)
    # The first gate reads the picture, of which every channel is there.
    assert found["forms"] == {"first_gated": SKIP, "second_gated": OUTPUTS}
    assert {name: set(times) for name, times in found["milliseconds"].items()} == {
        "first_gated": {DENSE, SKIP},
        "second_gated": {DENSE, OUTPUTS, SKIP},
    }
    pictures = np.random.default_rng(1).uniform(0, 255, (4, 6, 6, 3)).astype(np.float32)
    expected = np.asarray(model(pictures, training=False))
    for name in ("chosen", DENSE, SKIP):
        logits = LiteModel(tmp_path / f"whole_{name}.tflite").predict(pictures)
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
