import keras
import numpy as np
import pytest

from secateur.export import save_keras, to_stock
from secateur.learners.fbs.layers import ChannelPruning
from secateur.nets.resnet import resnet
from secateur.training.precision import to_training
from secateur.utils.errors import RunError, UsageError
from tests.pruning import networks


def test_training_form_becomes_stock_layers_in_float32(randomise):
    model = randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=8))
    stock = to_stock(to_training(model, "bfloat16"))
    assert all(type(layer).__module__.startswith("keras.") for layer in stock.layers)
    assert {layer.compute_dtype for layer in stock.layers} == {"float32"}
    assert [layer.name for layer in stock.layers] == [layer.name for layer in model.layers]
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(stock(pictures), model(pictures), rtol=1e-5, atol=1e-5)


def test_saved_file_holds_the_stock_form(randomise, tmp_path):
    model = to_training(randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=8)), "bfloat16")
    save_keras(model, tmp_path / "deep" / "model.keras")
    loaded = keras.models.load_model(tmp_path / "deep" / "model.keras")
    pictures = np.full((1, 8, 8, 1), 100.0, np.float32)
    np.testing.assert_allclose(loaded(pictures), to_stock(model)(pictures), rtol=1e-5, atol=1e-6)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.keras"]


class Foreign(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@keras.saving.register_keras_serializable(package="tests")
class Registered(Foreign):
    pass


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (Foreign(name="odd"), "odd is a Foreign, .*put @keras.saving.register_keras_serializable"),
        (keras.layers.Lambda(lambda x: 2 * x, name="odd"), "odd is a Lambda: a file with it cannot be loaded"),
    ],
)
def test_layers_that_no_file_can_hold_are_refused(layer, says, tmp_path):
    inputs = keras.Input((4,))
    with pytest.raises(UsageError, match=says):
        save_keras(keras.Model(inputs, layer(inputs)), tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_registered_layer_stays(tmp_path):
    inputs = keras.Input((4,))
    save_keras(keras.Model(inputs, Registered(name="odd")(inputs)), tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("odd")) is Registered
    np.testing.assert_array_equal(loaded(np.ones((1, 4), np.float32)), np.full((1, 4), 2))


def test_a_layer_of_this_program_must_say_what_it_is_outside():
    inputs = keras.Input((4, 4, 2))
    gate = ChannelPruning([keras.layers.Conv2D(3, 1)], name="odd")
    with pytest.raises(RunError, match=r"odd is a ChannelPruning and has no stock_layer"):
        to_stock(keras.Model(inputs, gate(inputs)))


def test_adapted_statistics_go_along(tmp_path):
    model = networks.normalised_at_the_input()
    pictures = np.random.default_rng(1).normal(5, 3, (2, 6, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(to_stock(to_training(model))(pictures), model(pictures), rtol=1e-5, atol=1e-6)
    save_keras(model, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(pictures), model(pictures), rtol=1e-5, atol=1e-6)


def test_operations_on_symbolic_tensors_survive_both_forms(randomise):
    inputs = keras.Input((8, 8, 1))
    x = keras.ops.flip(keras.layers.Conv2D(2, 3, name="a")(inputs), axis=1)
    model = randomise(keras.Model(inputs, keras.layers.Conv2D(2, 3, name="b")(x)))
    pictures = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(to_stock(to_training(model))(pictures), model(pictures), atol=1e-6)
