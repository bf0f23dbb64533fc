import keras
import numpy as np
import pytest

from secateur.pruning.copies import call_copy, call_with, layers_inside, new_layer, set_weights, weights_of
from secateur.utils.errors import UsageError

layers = keras.layers
PICTURES = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 3)).astype(np.float32)


def test_a_new_layer_is_another_one_of_the_same_configuration():
    layer = layers.Conv2D(4, 3, name="conv", activation="relu")
    fresh, changed = new_layer(layer), new_layer(layer, filters=2)
    assert fresh is not layer
    assert fresh.get_config() == layer.get_config()
    assert changed.get_config() == layer.get_config() | {"filters": 2}


def test_a_lambda_keeps_its_function():
    layer = layers.Lambda(lambda x: 2 * x, name="twice", output_shape=(6, 6, 3))
    np.testing.assert_array_equal(new_layer(layer)(PICTURES), 2 * PICTURES)
    assert new_layer(layer, name="other").name == "other"


def test_a_configuration_that_does_not_tell_everything():
    class Own(layers.Layer):
        def __init__(self, factor):
            super().__init__(name="odd")
            self.factor = factor

    with pytest.raises(UsageError, match=r"odd \(Own\) cannot be made again from its get_config\(\)"):
        new_layer(Own(3))


def test_a_copy_makes_the_same_and_keeps_its_initializers():
    layer = layers.Conv2D(4, 3)
    expected, inputs = layer(PICTURES), keras.Input((6, 6, 3))
    np.testing.assert_array_equal(keras.Model(inputs, call_copy(layer, inputs))(PICTURES), expected)
    assert weights_of(layer)[0].any()
    fresh = new_layer(layer)
    call_with(fresh, [], (PICTURES,), {})
    assert not weights_of(fresh)[0].any()  # nothing was drawn
    assert isinstance(fresh.kernel_initializer, keras.initializers.GlorotUniform)


def test_an_operation_has_no_weights():
    assert weights_of(layers.ReLU()) == []


def test_constants_that_a_norm_made_of_its_weights_are_made_again():
    model = keras.Sequential([keras.Input((6, 6, 3)), layers.Normalization()])
    weights = [np.full_like(weight, 4) if weight.ndim else weight for weight in model.get_weights()]
    set_weights(model, weights)
    np.testing.assert_allclose(model(PICTURES), (PICTURES - 4) / 2, rtol=1e-5)


def test_layers_at_every_depth():
    inner = keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(2, 3, name="a")])
    outer = keras.Sequential([keras.Input((6, 6, 3)), inner, layers.ReLU(name="b")])
    assert [layer.name for layer in layers_inside(outer)] == ["a", "b"]
    assert [layer.name for layer in layers_inside(outer.layers[-1])] == ["b"]
