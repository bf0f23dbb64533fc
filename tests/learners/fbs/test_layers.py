import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.fbs import gated, ops
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


def test_the_winners_in_bfloat16_are_those_of_the_exported_model():
    """Saliencies are all near 1, where bfloat16 knows few values."""
    exact, mixed = block(density=0.5), block(density=0.5, dtype="mixed_bfloat16")
    pictures = np.asarray(tf.cast(tf.cast(PICTURES, tf.bfloat16), tf.float32))
    for layer in (exact, mixed):
        layer.build(pictures.shape)
    exact.rho.assign(1 + 1e-3 * np.random.default_rng(0).permutation(6))
    exact.phi.assign(np.random.default_rng(1).normal(size=(3, 6)) * 1e-2)
    mixed.set_weights(exact.get_weights())
    winners = [np.asarray(tf.cast(layer(pictures), tf.float32)).any((1, 2)) for layer in (exact, mixed)]
    np.testing.assert_array_equal(*winners)
    assert (winners[0].sum(axis=1) == 3).all()


def test_a_single_channel_is_told_by_its_magnitude():
    """What pictures have in common would be all of it."""
    layer = block(density=0.5)
    layer.build((None, 8, 8, 1))
    magnitudes = np.random.default_rng(0).uniform(1, 3, (64, 1)).astype(np.float32)
    layer.calibrate(magnitudes, seed=0, size=0.1)
    won = np.asarray(layer.gate(tf.constant(magnitudes))) > 0
    assert (won.sum(axis=1) == 3).all()
    assert np.mean((won.mean(axis=0) > 0.1) & (won.mean(axis=0) < 0.9)) >= 0.5


def test_weights_of_another_density_are_loaded_at_the_layers_own(tmp_path):
    """As from a training at density 1."""
    dense, sparse = (keras.Sequential([keras.Input((8, 8, 3)), block(density=density)]) for density in (1.0, 0.5))
    dense.layers[0].rho.assign(np.arange(1, 7))
    dense.save_weights(tmp_path / "dense.weights.h5")
    sparse.load_weights(tmp_path / "dense.weights.h5")
    fires = np.asarray(sparse(PICTURES)).any((1, 2))
    np.testing.assert_array_equal(fires, np.tile([False] * 3 + [True] * 3, (4, 1)))


def test_layers_that_end_without_places():
    layer = ChannelPruning([keras.layers.Conv2D(6, 3), keras.layers.GlobalAveragePooling2D()], name="whole")
    with pytest.raises(ValueError, match=r"whole: its layers make \(4, 6\), must be \[N, H, W, C\]"):
        layer(PICTURES)


def test_a_norm_of_another_axis_is_computed_as_a_whole():
    layer = ChannelPruning([keras.layers.Conv2D(8, 3, padding="same"), keras.layers.BatchNormalization(axis=1)], 0.5)
    layer(PICTURES)
    layer.layers[1].moving_mean.assign(np.arange(8))
    expected = np.asarray(layer(PICTURES))
    np.testing.assert_allclose(layer(PICTURES[:1]), expected[:1], atol=1e-5)


@pytest.mark.parametrize("density", [0.0, 1.5])
def test_a_density_out_of_range(density):
    layer = block()
    layer.set_density(0.5)
    with pytest.raises(ValueError, match=rf"density {density}: must be above 0 and at most 1"):
        layer.set_density(density)
    layer.build((None, 8, 8, 3))
    assert int(layer.nb_kept) == 3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_one_picture_is_computed_by_its_winners_alone(stride, scale, bias):
    """Eagerly and in a graph: the row of the batch, from fewer filters."""
    convolution = keras.layers.Conv2D(6, 3, stride, padding="same", use_bias=bias, bias_initializer="random_normal")
    layer = ChannelPruning([convolution, keras.layers.BatchNormalization(scale=scale)], density=0.5)
    layer.build(PICTURES.shape)
    generator = np.random.default_rng(1)
    for weight in layer.layers[1].weights:
        weight.assign(generator.uniform(0.5, 2, weight.shape))
    expected = np.asarray(layer(PICTURES))
    graph = tf.function(layer)
    for k in range(len(PICTURES)):
        for call in (layer, graph):
            np.testing.assert_allclose(call(tf.constant(PICTURES[k : k + 1])), expected[k : k + 1], atol=1e-5)
    concrete = graph.get_concrete_function(tf.TensorSpec((1, 8, 8, 3)))
    (made,) = [op.outputs[0].shape for op in concrete.graph.get_operations() if op.type == "Conv2D"]
    (kernel,) = [op.inputs[1] for op in concrete.graph.get_operations() if op.type == "Conv2D"]
    assert "Gather" in kernel.op.type
    assert made.rank == 4


def test_calibrated_predictors_tell_pictures_apart():
    layer = block()
    layer.build((None, 8, 8, 3))
    magnitudes = np.random.default_rng(0).uniform(1, 5, (200, 3)).astype(np.float32)
    layer.calibrate(magnitudes, seed=0, size=0.1)
    saliency = np.asarray(layer.saliency(magnitudes))
    np.testing.assert_allclose(saliency.mean(axis=0), 1.0, atol=1e-3)
    assert (saliency.std(axis=0) > 0.05).all()
    assert saliency.std(axis=0).max() < 0.101
    # What all pictures have in common may grow, and the saliencies stay.
    np.testing.assert_allclose(np.asarray(layer.saliency(3 * magnitudes)).mean(axis=0), 1.0, atol=1e-3)
    kernel, bias = layer.predictor()
    np.testing.assert_allclose(np.maximum(magnitudes @ kernel + bias, 0), saliency, atol=1e-4)


def test_balance_is_a_loss_of_uneven_channels():
    layer = block(density=0.5, balance=2.0)
    layer(PICTURES)
    (loss,) = layer.losses
    sums = np.asarray(layer.gate(ops.subsample(PICTURES))).sum(axis=0)
    np.testing.assert_allclose(loss, 2 * sums.var() / (sums.mean() + 1e-3) ** 2, rtol=1e-4)


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
    model.layers[1].calibrate(np.random.default_rng(0).uniform(1, 5, (20, 3)).astype(np.float32), seed=0, size=0.5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(PICTURES), again(PICTURES))
    for name in ("common", "spread", "nb_kept"):
        np.testing.assert_array_equal(getattr(again.layers[1], name), getattr(model.layers[1], name))
    assert float(again.layers[1].spread.numpy().max()) != 1.0
    config = again.layers[1].get_config()
    assert (config["density"], config["normalize"], config["l1"]) == (0.34, "sum", 1e-8)
    assert again.layers[1].compute_dtype == ("float32" if policy == "float32" else "bfloat16")


def test_the_l1_norm_of_all_saliencies_is_a_loss():
    layer = block(l1=0.5)
    layer(PICTURES)
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, 0.5 * np.sum(layer.saliency(ops.subsample(PICTURES))), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"), [({"density": 0.0}, "density 0.0"), ({"normalize": "x"}, "normalize x")]
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        block(**settings)


@pytest.mark.parametrize(("start", "size"), [("random", 56), ("trained", 20)])
def test_a_deep_narrow_network_stays_finite(start, size):
    """Saliencies grow with the stream, and without care a deep network overflows within some steps."""
    keras.utils.set_random_seed(0)
    dense = to_training(resnet((8, 8, 1), 3, size, (4, 4, 4)), "float32")
    generator = np.random.default_rng(0)
    images = tf.constant(generator.uniform(0, 255, (8, 8, 8, 1)).astype(np.float32))
    labels = tf.constant(generator.integers(0, 3, 8, np.int32))
    if start == "trained":
        step = train_step(dense, sgd(Recipe(1, 0.1, 1, 0.1), 0.01), cross_entropy, 1e-4)
        for _ in range(60):
            step(images, labels)
    model = gated.gated(dense, 0.5, "sum", 1e-8)
    if start == "trained":
        gated.calibrate(model, [images], seed=0)
    else:  # the layer's own small random predictors
        for gate in gated.gate_layers(model):
            gate.phi.assign(np.random.default_rng(0).normal(0, 0.05, gate.phi.shape) / np.sqrt(gate.phi.shape[0]))
    step = train_step(model, sgd(Recipe(1, 0.1, 1, 0.1), 0.05), cross_entropy, 1e-4)
    losses = [float(step(images, labels)["loss"]) for _ in range(200)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
