import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.config import CRITERIA
from secateur.learners.chn_pruned.criteria import scores_of
from secateur.pruning import ChannelGraph
from tests.pruning import networks
from tests.training.helpers import tiny_task

GENERATOR = np.random.default_rng(0)


def scores(model, criterion, batches=()):
    graph = ChannelGraph(model)
    return graph, scores_of(criterion, graph, list(graph.groups.values()), tiny_task(), batches, seed=3)


@pytest.mark.parametrize("criterion", CRITERIA)
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
    _, found = scores(model, "bn")
    gamma = np.abs(model.get_layer("two_conv1_norm").gamma.numpy())
    np.testing.assert_allclose(found["two_conv1"], gamma)


def test_taylor_uses_the_gradient_of_the_loss(randomise):
    model, task = randomise(networks.chain()), tiny_task()
    images, labels = GENERATOR.normal(size=(4, 8, 8, 3)).astype(np.float32), tf.constant([0, 1, 2, 3])
    kernel = model.get_layer("a").kernel
    with tf.GradientTape() as tape:
        loss = task.loss(labels, model(images, training=False))
    gradient = tape.gradient(loss, kernel).numpy().reshape(-1, 6).T
    expected = ops.taylor_changes(kernel.numpy().reshape(-1, 6).T, gradient)
    graph = ChannelGraph(model)
    found = scores_of("taylor", graph, [graph.groups["a"]], task, [(images, labels)], 0)
    np.testing.assert_allclose(found["a"], expected, rtol=1e-3)
