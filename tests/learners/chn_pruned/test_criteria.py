import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.config import CRITERIA
from secateur.learners.chn_pruned.criteria import scores_of
from secateur.pruning import ChannelGraph
from secateur.utils.errors import UsageError
from tests.pruning import networks
from tests.training.helpers import tiny_task

GENERATOR = np.random.default_rng(0)


def scores(model, criterion, batches=(), names=None):
    graph = ChannelGraph(model)
    groups = [graph.groups[name] for name in names or graph.groups]
    return graph, scores_of(criterion, graph, groups, tiny_task(), batches, seed=3)


@pytest.mark.parametrize("criterion", sorted({*CRITERIA} - {"bn"}))
@pytest.mark.parametrize("build", [networks.residual, networks.concatenated, networks.grouped, networks.shared])
def test_every_channel_of_every_group_has_a_finite_score(randomise, build, criterion):
    batches = [(GENERATOR.normal(size=(4, 8, 8, 3)).astype(np.float32), tf.constant([0, 1, 2, 0]))]
    graph, found = scores(randomise(build()), criterion, batches)
    assert {name: len(values) for name, values in found.items()} == {n: g.size for n, g in graph.groups.items()}
    assert all(np.isfinite(values).all() for values in found.values())


def test_a_group_sums_over_all_layers_that_make_it(randomise):
    model = randomise(networks.residual())
    _, found = scores(model, "l1")
    names = ("one_shortcut", "one_conv2", "two_conv2", "excite")
    expected = sum(np.abs(model.get_layer(name).kernel.numpy()).sum(axis=(0, 1, 2)) for name in names)
    np.testing.assert_allclose(found["one_conv2"], expected, rtol=1e-5)


def test_branches_of_a_concatenation_score_their_own_channels(randomise):
    model = randomise(networks.concatenated())
    _, found = scores(model, "l2")
    kernels = {name: model.get_layer(name).kernel.numpy() for name in "abc"}
    squares = {name: np.square(kernel).sum(axis=(0, 1, 2)) for name, kernel in kernels.items()}
    expected = np.sqrt(np.concatenate([squares["a"], squares["b"]]) + squares["c"])
    np.testing.assert_allclose(found["a"], expected, rtol=1e-5)


def test_norm_scales(randomise):
    model = randomise(networks.residual())
    _, found = scores(model, "bn", names=["stem", "one_conv1", "one_conv2", "two_conv1"])
    gamma = np.abs(model.get_layer("two_conv1_norm").gamma.numpy())
    np.testing.assert_allclose(found["two_conv1"], gamma)


@pytest.mark.parametrize(
    ("build", "group", "says"),
    [
        (networks.residual, "squeeze", "3 of the 3 channels of squeeze have no batch norm with a scale"),
        (networks.several_ends, "c", "7 of the 7 channels of c have no batch norm with a scale"),
    ],
)
def test_channels_without_a_norm_have_no_scale(build, group, says):
    with pytest.raises(UsageError, match=f"--chn_criterion bn: {says}: choose another .* or protect them"):
        scores(build(), "bn", names=[group])


def test_every_channel_needs_a_norm_of_its_own():
    """Behind a concatenation with another branch one of the two parts may have none."""
    inputs = keras.Input((4, 4, 3))
    a = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1, name="a")(inputs))
    x = keras.layers.Concatenate()([a, keras.layers.Conv2D(5, 1, name="b")(inputs)])
    x = keras.layers.Add()([x, keras.layers.Conv2D(9, 1, name="c")(inputs)])
    with pytest.raises(UsageError, match="5 of the 9 channels of a have no batch norm"):
        scores(keras.Model(inputs, keras.layers.Conv2D(2, 1, name="d")(x)), "bn", names=["a"])


def test_taylor_switches_a_channel_off_behind_its_norm(randomise):
    """Scale and offset, batch by batch; that is the channel's output becoming zero where the next layer reads it."""
    model, task = randomise(networks.residual()), tiny_task()
    norm, batches = model.get_layer("two_conv1_norm"), []
    for _ in range(2):
        batches.append((GENERATOR.normal(size=(4, 8, 8, 3)).astype(np.float32), tf.constant([0, 1, 2, 0])))
    expected = []
    for images, labels in batches:
        with tf.GradientTape() as tape:
            loss = task.loss(labels, model(images, training=False))
        scale, offset = tape.gradient(loss, [norm.gamma.value, norm.beta.value])
        expected.append(norm.gamma.numpy() * scale + norm.beta.numpy() * offset)
    _, found = scores(model, "taylor", batches)
    np.testing.assert_allclose(found["two_conv1"], np.mean(np.square(expected), axis=0), rtol=1e-3)


def test_taylor_without_a_norm_uses_the_filters(randomise):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(6, 3, activation="relu", name="a")(inputs))
    model, task = randomise(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))), tiny_task()
    images, labels = GENERATOR.normal(size=(4, 8, 8, 3)).astype(np.float32), tf.constant([0, 1, 2, 3])
    kernel = model.get_layer("a").kernel
    with tf.GradientTape() as tape:
        loss = task.loss(labels, model(images, training=False))
    gradient = tape.gradient(loss, kernel).numpy().reshape(-1, 6).T
    expected = ops.first_order_change(kernel.numpy().reshape(-1, 6).T, gradient) ** 2
    graph = ChannelGraph(model)
    found = scores_of("taylor", graph, [graph.groups["a"]], task, [(images, labels)], 0)
    np.testing.assert_allclose(found["a"], expected, rtol=1e-3)
