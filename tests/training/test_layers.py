import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.training.layers import FusedBatchNormalization, SynchronizedBatchNormalization

IMAGES = np.random.default_rng(0).normal(2, 3, (6, 5, 4, 3)).astype(np.float32)


def pair(kind=FusedBatchNormalization, **config):
    """A training form and Keras's own layer with the same random weights."""
    fused, stock = kind(**config), keras.layers.BatchNormalization(**config)
    generator = np.random.default_rng(1)
    for layer in (fused, stock):
        layer.build(IMAGES.shape)
    weights = [np.abs(generator.normal(1, 0.3, w.shape)) for w in fused.get_weights()]
    fused.set_weights(weights)
    stock.set_weights(weights)
    return fused, stock


@pytest.mark.parametrize("kind", [FusedBatchNormalization, SynchronizedBatchNormalization])
@pytest.mark.parametrize("config", [{}, {"scale": False}, {"center": False}, {"momentum": 0.9, "epsilon": 1e-5}])
def test_training_equals_the_stock_layer(config, kind):
    fused, stock = pair(kind, **config)
    results = []
    for layer in (fused, stock):
        with tf.GradientTape() as tape:
            x = tf.constant(IMAGES)
            tape.watch(x)
            outputs = layer(x, training=True)
            loss = tf.reduce_sum(tf.sin(outputs))
        gradients = tape.gradient(loss, [x, *layer.trainable_variables])
        results.append([outputs, *gradients, *layer.get_weights()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_inference_and_frozen_layers_use_the_moving_statistics():
    fused, stock = pair()
    np.testing.assert_allclose(fused(IMAGES), stock(IMAGES), rtol=1e-5, atol=1e-6)
    fused.trainable = stock.trainable = False
    np.testing.assert_allclose(fused(IMAGES, training=True), stock(IMAGES, training=True), rtol=1e-5, atol=1e-6)


def test_other_ranks_take_the_stock_path():
    fused, stock = FusedBatchNormalization(), keras.layers.BatchNormalization()
    flat = IMAGES.reshape(-1, 3)
    np.testing.assert_allclose(fused(flat, training=True), stock(flat, training=True), rtol=1e-5)


def test_eager_equals_function():
    fused, _ = pair()
    weights = fused.get_weights()
    eager = fused(IMAGES, training=True).numpy()
    fused.set_weights(weights)
    np.testing.assert_allclose(tf.function(lambda x: fused(x, training=True))(IMAGES), eager, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [FusedBatchNormalization, SynchronizedBatchNormalization])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_statistics_in_float32(policy, kind):
    fused = kind(dtype=policy, momentum=0.0)
    outputs = fused(IMAGES, training=True)
    assert outputs.dtype == policy.removeprefix("mixed_")
    assert fused.moving_mean.dtype == "float32"
    np.testing.assert_allclose(fused.moving_mean, IMAGES.mean((0, 1, 2)), rtol=2e-2)


def test_config_and_file_round_trip(tmp_path):
    inputs = keras.Input(IMAGES.shape[1:])
    layer = FusedBatchNormalization(momentum=0.7, epsilon=1e-4, name="norm")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.abs(np.random.default_rng(2).normal(1, 0.2, w.shape)) for w in layer.get_weights()])
    again = FusedBatchNormalization.from_config(layer.get_config())
    assert (again.momentum, again.epsilon, again.name) == (0.7, 1e-4, "norm")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("norm")) is FusedBatchNormalization
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_synchronized_inference_and_other_ranks():
    synchronized, stock = pair(SynchronizedBatchNormalization)
    np.testing.assert_allclose(synchronized(IMAGES), stock(IMAGES), rtol=1e-5, atol=1e-6)
    flat = IMAGES.reshape(-1, 3)
    synchronized, stock = SynchronizedBatchNormalization(), keras.layers.BatchNormalization()
    np.testing.assert_allclose(synchronized(flat, training=True), stock(flat, training=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(synchronized.moving_variance, stock.moving_variance, rtol=1e-5)


@pytest.mark.parametrize("kind", [FusedBatchNormalization, SynchronizedBatchNormalization])
def test_stock_layer_has_the_same_configuration(kind):
    stock = kind(momentum=0.7, name="norm").stock_layer()
    assert type(stock) is keras.layers.BatchNormalization
    assert (stock.momentum, stock.name) == (0.7, "norm")
