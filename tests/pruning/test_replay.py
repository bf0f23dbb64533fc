import keras
import numpy as np

from secateur.nets.resnet import resnet
from secateur.pruning.replay import replay
from tests.pruning import networks

PICTURES = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)


def test_without_changes_it_is_a_copy(randomise):
    model = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
    copy = replay(model, lambda call, x: None)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(copy(PICTURES, training=False), model(PICTURES, training=False))
    assert not set(map(id, copy.layers)) & set(map(id, model.layers))


def test_adapted_statistics_go_along():
    model = networks.normalised_at_the_input()
    pictures = np.random.default_rng(1).normal(5, 3, (2, 6, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(replay(model, lambda call, x: None)(pictures), model(pictures))


def test_a_call_in_another_form(randomise):
    model = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
    seen = []

    def halved(call, x):
        if call.layer.name != "logits":
            return None
        seen.append(tuple(x.shape))
        return keras.layers.Rescaling(0.5, name="half")(keras.layers.Dense(3, name="new")(x))

    changed = replay(model, halved)
    changed.get_layer("new").set_weights(model.get_layer("logits").get_weights())
    assert seen == [(None, 8)]
    np.testing.assert_allclose(changed(PICTURES, training=False), 0.5 * model(PICTURES, training=False), rtol=1e-5)


def test_a_layer_that_is_called_twice_stays_one():
    inputs = keras.Input((8, 8, 1))
    shared = keras.layers.Conv2D(1, 3, padding="same", name="shared")
    model = keras.Model(inputs, shared(shared(inputs)))
    copy = replay(model, lambda call, x: None)
    assert len(copy.layers) == 2
    np.testing.assert_allclose(copy(PICTURES), model(PICTURES), rtol=1e-6)
