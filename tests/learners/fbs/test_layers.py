import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.fbs import gated
from secateur.learners.fbs.layers import ChannelPruning
from secateur.nets.resnet import resnet
from secateur.training.precision import to_training
from secateur.training.steps import sgd, train_step
from secateur.training.task import Recipe, cross_entropy

PICTURES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)


def block(**settings) -> ChannelPruning:
    layers = [keras.layers.Conv2D(6, 3, padding="same", use_bias=False), keras.layers.BatchNormalization(scale=False)]
    return ChannelPruning(layers, **settings)


def test_the_output_is_the_blocks_times_the_gate():
    layer = block(density=0.5)
    outputs = layer(PICTURES)
    inner = layer.layers[1](layer.layers[0](PICTURES), training=False)
    saliency = np.maximum(np.abs(PICTURES).mean((1, 2)) @ layer.phi.numpy() + layer.rho.numpy(), 0)
    kept = np.argsort(-saliency, axis=1, kind="stable")[:, :3]
    gate = np.zeros_like(saliency)
    np.put_along_axis(gate, kept, np.take_along_axis(saliency, kept, 1), 1)
    np.testing.assert_allclose(outputs, np.asarray(inner) * gate[:, None, None], atol=1e-5)
    assert (np.count_nonzero(np.asarray(outputs).any((1, 2)), axis=1) == 3).all()


def test_it_wraps_any_row_of_layers_in_a_model_of_ones_own():
    inputs = keras.Input((8, 8, 3))
    x = ChannelPruning([keras.layers.DepthwiseConv2D(3), keras.layers.Conv2D(4, 1)], density=0.5)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    model.compile("sgd", "mse")
    history = model.fit(PICTURES, np.ones((4, 2)), epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert x.shape == (None, 6, 6, 4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_configuration_and_weights_round_trip(tmp_path, policy):
    inputs = keras.Input((8, 8, 3))
    layers = [
        keras.layers.Conv2D(6, 3, use_bias=False, dtype=policy),
        keras.layers.BatchNormalization(scale=False, dtype=policy),
    ]
    model = keras.Model(inputs, ChannelPruning(layers, 0.5, "sum", 1e-8, dtype=policy)(inputs))
    model.layers[1].set_density(0.34)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(PICTURES), again(PICTURES))
    config = again.layers[1].get_config()
    assert (config["density"], config["normalize"], config["l1"]) == (0.34, "sum", 1e-8)
    assert again.layers[1].compute_dtype == ("float32" if policy == "float32" else "bfloat16")


def test_the_l1_norm_of_all_saliencies_is_a_loss():
    layer = block(l1=0.5)
    layer(PICTURES)
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, 0.5 * np.sum(layer.saliency(PICTURES)), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"), [({"density": 0.0}, "density 0.0"), ({"normalize": "x"}, "normalize x")]
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        block(**settings)


def test_a_deep_narrow_network_stays_finite():
    """Saliencies grow with the stream, and without care a deep network overflows within some steps."""
    keras.utils.set_random_seed(0)
    dense = to_training(resnet((8, 8, 1), 3, 56, (4, 4, 4)), "float32")
    model = gated.gated(dense, 0.5, "paper", 1e-8)
    step = train_step(model, sgd(Recipe(1, 0.1, 1, 0.1), 0.05), cross_entropy, 1e-4)
    generator = np.random.default_rng(0)
    images = tf.constant(generator.uniform(0, 255, (8, 8, 8, 1)).astype(np.float32))
    labels = tf.constant(generator.integers(0, 3, 8, np.int32))
    losses = [float(step(images, labels)["loss"]) for _ in range(100)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
