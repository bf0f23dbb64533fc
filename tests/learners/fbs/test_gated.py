import itertools

import keras
import numpy as np
import pytest

from secateur.learners.fbs import choice, gated, skipping
from secateur.learners.fbs.skipping import DENSE, OUTPUTS, SKIP
from secateur.nets.cifarnet import cifarnet
from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet
from secateur.pruning import cost


def unusual():
    """Biases, norms without scale or centre, a sigmoid, layers called twice, convolutions that cannot be gated."""
    conv, norm, relu = keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.ReLU()
    inputs = keras.Input((9, 9, 2))
    x = relu(norm(scale=False)(conv(6, 3, padding="same", name="one")(inputs)))
    x = keras.layers.Activation("sigmoid")(norm(center=False)(conv(8, 3, strides=2, use_bias=False, name="two")(x)))
    stem = conv(8, 1, name="read_twice")(x)
    x = relu(norm()(conv(8, 3, padding="same", name="three")(relu(norm()(stem)))))
    shared = conv(8, 1, name="called_twice")
    x = shared(shared(x))
    x = relu(norm()(conv(6, 3, dilation_rate=2, padding="same", name="dilated")(x + stem)))
    x = norm()(conv(6, 3, padding="same", activation="tanh", name="activated")(x))
    x = norm()(conv(4, 3, strides=(2, 1), padding="same", name="uneven")(x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


NETWORKS = {
    "resnet": lambda: resnet((8, 8, 1), 3, 8, (4, 6, 8)),
    "cifarnet": lambda: cifarnet(3, 16, ((4, 1), (6, 2), (8, 2))),
    "mobilenet": lambda: mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2))),
    "unusual": unusual,
}


@pytest.fixture(params=NETWORKS)
def dense(request, randomise):
    model = randomise(NETWORKS[request.param]())
    for layer in model.layers:  # scales of both signs, as randomised ones are all positive
        if isinstance(layer, keras.layers.BatchNormalization) and layer.scale:
            signs = np.where(np.arange(layer.gamma.shape[0]) % 3 == 0, -1.0, 1.0)
            layer.gamma.assign(layer.gamma.numpy() * signs)
    return model


def pictures(model, number=2):
    return np.random.default_rng(1).uniform(0, 255, (number, *model.input_shape[1:])).astype(np.float32)


def with_predictors(model):
    generator = np.random.default_rng(2)
    for gate in gated.gate_layers(model):
        gate.phi.assign(generator.normal(0, 0.5, gate.phi.shape))
    return model


@pytest.mark.parametrize("normalize", ["paper", "sum"])
def test_at_density_1_the_gated_network_is_the_dense_one(dense, normalize):
    model = gated.gated(dense, 1.0, normalize, 0.0)
    x = pictures(dense)
    expected = np.asarray(dense(x, training=False))
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    others = ("read_twice", "dilated", "activated", "uneven", "called_twice")
    convolutions = [layer.name for layer in dense.layers if type(layer) is keras.layers.Conv2D]
    assert [gate.name for gate in gated.gate_layers(model)] == [f"{c}_gated" for c in convolutions if c not in others]


@pytest.mark.parametrize("normalize", ["paper", "sum"])
def test_stock_and_skipping_forms_are_the_gated_network(dense, normalize):
    model = with_predictors(gated.gated(dense, 0.5, normalize, 0.0))
    x = pictures(dense, 1)
    expected = np.asarray(model(x, training=False))
    gates = [gate.name for gate in gated.gate_layers(model)]
    mixed = dict(zip(gates, itertools.cycle((SKIP, OUTPUTS, DENSE)), strict=False))
    forms = [{}, dict.fromkeys(gates, SKIP), dict.fromkeys(gates, OUTPUTS), dict.fromkeys(gates[1::2], SKIP), mixed]
    for found in [gated.stock(model), *[skipping.build(model, chosen) for chosen in forms]]:
        np.testing.assert_allclose(found(x, training=False), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        assert all(type(layer).__module__.startswith("keras.") for layer in found.layers)


def test_margins_say_how_near_a_tie_is(dense):
    """Equal saliencies are a tie, which counts where some of them win."""
    model, x = with_predictors(gated.gated(dense, 0.5, "sum", 0.0)), pictures(dense, 3)
    found = gated.margins(model, x)
    assert found.shape == (3,)
    assert (found > 0).all()
    for gate in gated.gate_layers(model):
        gate.set_density(1.0)
    assert np.isinf(gated.margins(model, x)).all()
    gate.set_density(0.5)
    gate.phi.assign(np.zeros(gate.phi.shape))
    np.testing.assert_array_equal(gated.margins(model, x), 0)


def test_a_copy_keeps_weights_and_density(dense):
    model = with_predictors(gated.gated(dense, 0.5, "sum", 0.0))
    copy = gated.copied(model, dense, "sum")
    x = pictures(dense)
    np.testing.assert_array_equal(copy(x, training=False), model(x, training=False))
    assert {gate.get_config()["density"] for gate in gated.gate_layers(copy)} == {0.5}


def test_dense_forms_execute_the_network_and_its_predictors(dense):
    model = gated.gated(dense, 0.5, "paper", 0.0)
    gates = [gate.name for gate in gated.gate_layers(model)]
    predictors = sum(int(np.prod(gate.phi.shape)) for gate in gated.gate_layers(model))
    assert choice.executed_macs(model, {}) == cost.macs(dense) + predictors
    assert choice.executed_macs(model, dict.fromkeys(gates, DENSE)) == cost.macs(dense) + predictors


def test_executed_macs_are_those_of_the_products():
    """A chain of two gates, the second one skipping its dead inputs too, and the places of what comes out."""
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for filters in (4, 6):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    model = gated.gated(keras.Model(inputs, x), 0.5, "paper", 0.0)
    first, second = (gate.name for gate in gated.gate_layers(model))
    convolutions = 64 * 9 * (3 * 2 + 2 * 3)
    assert choice.executed_macs(model, {first: SKIP, second: SKIP}) == convolutions + 3 * 4 + 2 * 6 + 64 * 3 * 6
    places = 64 * 2 * 4
    dense_second = 64 * 9 * (3 * 2 + 4 * 6) + 3 * 4 + 4 * 6
    assert choice.executed_macs(model, {first: SKIP, second: DENSE}) == dense_second + places


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_magnitudes_behind_a_leaky_relu_have_no_sign(slope):
    x = inputs = keras.Input((8, 8, 3))
    for _ in range(2):
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3, padding="same")(x))
        x = keras.layers.ReLU(negative_slope=slope)(x)
    model = with_predictors(gated.gated(keras.Model(inputs, x), 0.5, "sum", 0.0))
    found = skipping.build(model, dict.fromkeys([gate.name for gate in gated.gate_layers(model)], SKIP))
    picture = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(found(picture), model(picture, training=False), rtol=1e-3, atol=1e-4)
