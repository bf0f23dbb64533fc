import keras
import numpy as np
import pytest

from secateur.pruning import ChannelGraph, mask, rules, shrink
from tests.pruning.networks import ChannelGain


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    rules.register_rule(ChannelGain, rules.Passes(config={"channels": "made"}))


def gained() -> keras.Model:
    inputs = keras.Input((4, 4, 3))
    x = ChannelGain(5, name="gain")(keras.layers.Conv2D(5, 1, name="a")(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


def test_without_a_rule_the_channels_stay():
    assert "gain (ChannelGain) reads them" in ChannelGraph(gained()).groups["a"].reason


def test_with_a_rule_they_go(registered, randomise):
    model = randomise(gained())
    shrunk = shrink(model, {"a": [1, 4]})
    assert shrunk.get_layer("gain").channels == 2
    pictures = np.random.default_rng(0).normal(size=(3, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(shrunk(pictures), mask(model, {"a": [1, 4]})(pictures), rtol=1e-5, atol=1e-6)
    assert rules.axes_of(model.get_layer("gain")) == [(None, -1)]


def test_an_activation_that_is_registered_lets_channels_go(registered, randomise):
    @keras.saving.register_keras_serializable(package="tests")
    def cube(x):
        return x**3

    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(5, 1, activation=cube, name="a")(inputs)
    model = randomise(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))))
    assert not ChannelGraph(model).groups["a"].prunable
    rules.register_rule(cube, rules.ELEMENTWISE)
    pictures = np.random.default_rng(0).normal(size=(3, 4, 4, 3)).astype(np.float32)
    expected = mask(model, {"a": [1, 4]})(pictures)
    np.testing.assert_allclose(shrink(model, {"a": [1, 4]})(pictures), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "rule"),
    [
        (keras.layers.Conv2D(4, 1), rules.CONVOLUTION),
        (keras.layers.DepthwiseConv2D(3), rules.DEPTHWISE),
        (keras.layers.ReLU(), rules.ELEMENTWISE),
        (keras.layers.Activation("softmax"), None),
        (keras.layers.Conv2D(4, 1, data_format="channels_first"), None),
        (keras.layers.LayerNormalization(), None),
    ],
)
def test_rules_of_layers(layer, rule):
    assert rules.find(layer) == rule
