import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet
from secateur.nets.vgg import vgg16_ilsvrc12
from secateur.pruning import ChannelGraph, mask
from secateur.pruning.gates import gated_kernels, maker_gates, reader_gates
from secateur.utils.errors import UsageError

NETWORKS = {
    "resnet": lambda: resnet((8, 8, 1), 3, 8, (4, 6, 8)),
    "mobilenet": lambda: mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2))),
    "vgg with a flatten": lambda: vgg16_ilsvrc12(3, 64, ((4,), (4,), (6,), (6,), (6,)), 8),
}


def scalars_of(graph: ChannelGraph, keep: dict) -> np.ndarray:
    values = np.zeros((len(keep), max(graph.groups[name].size for name in keep)), np.float32)
    for row, channels in enumerate(keep.values()):
        values[row, channels] = 1.0
    return values


def predicted(model: keras.Model, pairs: list, pictures: np.ndarray) -> np.ndarray:
    with keras.StatelessScope(state_mapping=pairs):
        return np.asarray(model(pictures, training=False))


@pytest.mark.parametrize("network", NETWORKS)
def test_scalars_of_0_and_1_are_the_mask(network, randomise):
    """In front of every reader, also through flattening and depthwise convolutions."""
    model = randomise(NETWORKS[network]())
    graph = ChannelGraph(model)
    keep = {name: list(range(group.size // 2)) for name, group in graph.groups.items() if group.prunable}
    pictures = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    pairs = gated_kernels(model, reader_gates(graph, list(keep)), tf.constant(scalars_of(graph, keep)))
    np.testing.assert_array_equal(predicted(model, pairs, pictures), mask(graph, keep)(pictures, training=False))
    assert not np.allclose(predicted(model, pairs, pictures), model(pictures, training=False))


def test_groups_that_are_not_named_stay_as_they_are(randomise):
    model = randomise(NETWORKS["resnet"]())
    gates = reader_gates(ChannelGraph(model), ["stage2_block1_conv1"])
    assert [gate.layer for gate in gates] == ["stage2_block1_conv2"]
    ((kernel, value),) = gated_kernels(model, gates, tf.constant([[1.0, 0.5, 0, 1, 1, 1]]))
    assert kernel.path == model.get_layer("stage2_block1_conv2").kernel.path
    np.testing.assert_allclose(value[:, :, 1], kernel.numpy()[:, :, 1] / 2)
    assert not np.any(value[:, :, 2])
    np.testing.assert_array_equal(value[:, :, 3:], kernel.numpy()[:, :, 3:])


def test_makers_are_scaled_on_their_filters_or_their_norms(randomise):
    model = randomise(NETWORKS["resnet"]())
    graph = ChannelGraph(model)
    names = ["stem", "stage3_block1_conv1"]
    assert [gate.layer for gate in maker_gates(graph, names)] == [f"{name}_norm" for name in names]
    pairs = gated_kernels(model, maker_gates(graph, names[1:]), tf.constant([[0.0] * 8]))
    hidden = keras.Model(model.input, model.get_layer("stage3_block1_conv1_norm").output)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    beta = model.get_layer("stage3_block1_conv1_norm").beta.numpy()
    np.testing.assert_allclose(predicted(hidden, pairs, pictures), np.broadcast_to(beta, (2, 2, 2, 8)), rtol=1e-5)


def test_makers_without_a_norm_are_scaled_on_their_filters(randomise):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    model = randomise(keras.Model(inputs, keras.layers.Conv2D(8, 3, name="stage3_block1_conv1")(x)))
    names = ["stem", "stage3_block1_conv1"]
    names = ["stem", "stage3_block1_conv1"]
    scalars = np.zeros((2, 8), np.float32)
    scalars[0, :4], scalars[1] = (1, 2, 3, 4), np.arange(8)
    pairs = gated_kernels(model, maker_gates(ChannelGraph(model), names), tf.constant(scalars))
    for (kernel, value), row in zip(pairs, (scalars[0, :4], scalars[1]), strict=True):
        np.testing.assert_allclose(value, kernel.numpy() * row, rtol=1e-6)


def test_a_norm_without_a_scale_would_divide_the_scalars_out():
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization(scale=False, name="norm")(keras.layers.Conv2D(4, 3, name="stem")(inputs))
    graph = ChannelGraph(keras.Model(inputs, keras.layers.Conv2D(3, 3)(x)))
    with pytest.raises(UsageError, match=r"norm has no scale .* divide out what multiplies the filters of stem"):
        maker_gates(graph, ["stem"])


def test_gradients_reach_the_scalars(randomise):
    """Of a loss in one kernel: sum over it of kernel times gradient, by channel."""
    model = randomise(NETWORKS["resnet"]())
    graph = ChannelGraph(model)
    scalars = tf.Variable(np.ones((1, 6), np.float32))
    with tf.GradientTape() as tape:
        ((kernel, value),) = gated_kernels(model, reader_gates(graph, ["stage2_block1_conv1"]), scalars.value())
        loss = tf.reduce_sum(value**2)
    expected = 2 * np.square(kernel.numpy()).sum(axis=(0, 1, 3))
    np.testing.assert_allclose(tape.gradient(loss, scalars)[0], expected, rtol=1e-5)
