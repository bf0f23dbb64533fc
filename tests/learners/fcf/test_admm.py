import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.fcf import ops
from secateur.learners.fcf.admm import AdmmState, Rho, admm_step, update
from secateur.pruning import ChannelGraph
from secateur.pruning.gates import reader_gates
from secateur.training.steps import sgd
from secateur.training.task import cross_entropy
from tests.training.helpers import tiny_task

RATE, ALPHA = 0.1, 0.65


def test_rho_grows_to_its_last_value_and_stays():
    rho = Rho(0.01, 6.0, 200)
    values = [float(rho(tf.constant(k))) for k in (0, 100, 200, 500)]
    assert values == pytest.approx([0.01, np.sqrt(0.01 * 6), 6.0, 6.0], rel=1e-4)


def test_one_update_by_numpy():
    """Steps 2 to 6 of the algorithm, written out."""
    state = AdmmState([np.ones(4), np.ones(2)], [2, 1])
    generator = np.random.default_rng(0)
    for variable in state.variables[:-1]:
        variable.assign(generator.normal(0.5, 0.3, (2, 4)) * state.mask)
    v, y1, y2 = (x.numpy() for x in (state.v, state.y1, state.y2))
    gradient, rho = generator.normal(size=(2, 4)).astype(np.float32), 0.5
    update(state, tf.constant(gradient), ops.box_projection, tf.constant(rho), RATE, ALPHA)
    z1, z2 = state.z1.numpy(), state.z2.numpy()
    np.testing.assert_allclose(z1.sum(axis=1), [2, 1], atol=1e-3)
    np.testing.assert_allclose(z2[0], ops.sphere_projection(tf.constant(v + y2 / rho), state.mask)[0], rtol=1e-5)
    penalty = y1 + y2 + rho * (2 * v - z1 - z2)
    expected = (v - RATE * (ALPHA * penalty + (1 - ALPHA) * gradient)) * state.mask
    np.testing.assert_allclose(state.v, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.y1, y1 + rho * (expected - z1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.y2, y2 + rho * (expected - z2), rtol=1e-4, atol=1e-5)
    assert int(state.steps) == 1


def decided(mean_GxC: np.ndarray, counts: list[int], nb_steps: int, noise: float) -> AdmmState:
    """The state after steps whose gradients are `mean_GxC` and noise; none where the mean is 0, as of dead channels."""
    state, rho = AdmmState(list(np.ones_like(mean_GxC)), counts), Rho(0.01, 6.0, nb_steps // 2)
    mean = tf.constant(mean_GxC, tf.float32)
    noisy = noise * tf.cast(mean != 0, tf.float32)

    @tf.function
    def steps():
        for k in tf.range(nb_steps):
            gradient = mean + noisy * tf.random.stateless_normal(mean.shape, tf.stack([k, 0]))
            update(state, gradient, ops.box_projection, rho(state.steps.value), RATE, ALPHA)

    steps()
    return state


def is_binary(state: AdmmState, counts: list[int]) -> bool:
    far = np.max(ops.distance_to_binary(state.v.value, state.mask))
    return far < 0.02 and [len(channels) for channels in state.kept()] == counts


@pytest.mark.parametrize("nb_steps", [150, 600])
def test_scalars_become_binary_whatever_the_number_of_steps(nb_steps):
    state = decided(np.random.default_rng(1).normal(size=(2, 64)), [48, 32], nb_steps, noise=0.0)
    assert is_binary(state, [48, 32])


def test_the_loss_decides_which_filters_go():
    """Gradients that differ by half their noise: the filters that the loss grows with go.

    A trained ResNet-20's differ by 0.035 of it (`results/fcf_choice.json`), where the choice is little better than
    chance.
    """
    noise = 5e-3
    mean = 0.5 * noise * np.random.default_rng(0).normal(size=(8, 64))
    kept = decided(mean, [48] * 8, 2000, noise).kept()
    gone = [set(range(64)) - set(channels.tolist()) for channels in kept]
    right = [len(lost & set(np.argsort(row)[48:].tolist())) / 16 for lost, row in zip(gone, mean, strict=True)]
    assert np.mean(right) > 0.7


def test_channels_that_the_loss_does_not_see_get_decided_too():
    mean = 2.5e-3 * np.random.default_rng(0).normal(size=(2, 64))
    mean[:, :56] = 0.0
    assert is_binary(decided(mean, [48, 16], 1000, noise=5e-3), [48, 16])


def test_a_gradient_that_overflowed_changes_nothing(randomise):
    """As float16's do now and then, while the scale of the loss is looked for."""
    task = tiny_task()
    model = randomise(task.build_model())
    state = AdmmState([np.ones(6)], [3])
    before = [variable.numpy() for variable in state.variables]

    def overflowing(labels, logits):
        return cross_entropy(labels, logits) * float("inf")

    note = functools.partial(
        update, state, project=ops.box_projection, rho=tf.constant(1.0), learning_rate=RATE, alpha=ALPHA
    )
    gates = reader_gates(ChannelGraph(model), ["stage2_block1_conv1"])
    step = admm_step(model, gates, state, sgd(task.recipe, 0.0), overflowing, 0.0, note)
    step(*next(iter(task.load_data().train_batches(16, 0))))
    assert all(np.array_equal(a, b) for a, b in zip(before, state.variables, strict=True))


def test_the_scale_of_the_loss_does_not_reach_the_scalars(randomise):
    """Also not in a step in which the optimizer changes it."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(6, 3, name="a")(inputs))
    model = randomise(keras.Model(inputs, keras.layers.Dense(3)(x)))
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), 128.0, dynamic_growth_steps=1)
    seen = []
    for optimizer in (keras.optimizers.SGD(0.0), scaled):
        state, found = AdmmState([np.ones(6)], [3]), keras.Variable(np.zeros((1, 6), np.float32))
        gates = reader_gates(ChannelGraph(model), ["a"])
        step = admm_step(model, gates, state, optimizer, cross_entropy, 0.0, found.assign)
        step(*next(iter(tiny_task().load_data().train_batches(16, 0))))
        seen.append(found.numpy())
    assert float(scaled.dynamic_scale) == 256.0
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-4)
    assert np.abs(seen[0]).max() > 0


def test_a_step_trains_weights_and_scalars_together(randomise):
    task = tiny_task()
    model, data = randomise(task.build_model()), task.load_data()
    graph = ChannelGraph(model)
    groups = [name for name, group in graph.groups.items() if group.prunable]
    sizes = [graph.groups[name].size for name in groups]
    state = AdmmState([np.ones(size) for size in sizes], [size // 2 for size in sizes])
    seen = []

    def note(gradient):
        seen.append(gradient.shape)
        update(state, gradient, ops.box_projection, tf.constant(1.0), RATE, ALPHA)

    step = admm_step(model, reader_gates(graph, groups), state, sgd(task.recipe, 0.05), cross_entropy, 1e-4, note)
    kernel, mean = model.get_layer("stem").kernel.numpy(), model.get_layer("stem_norm").moving_mean.numpy()
    scalars = state.v.numpy()
    images, labels = next(iter(data.train_batches(16, 0)))
    metrics = step(images, labels)
    assert {"loss", "accuracy", "to_binary"} == set(metrics)
    assert set(map(tuple, seen)) == {(len(groups), max(sizes))}
    assert not np.allclose(model.get_layer("stem").kernel, kernel)
    assert not np.allclose(model.get_layer("stem_norm").moving_mean, mean)
    assert np.abs(state.v.numpy() - scalars).max() > 1e-3
    # Where a group is narrower than the widest one there is no scalar.
    np.testing.assert_array_equal(state.v.numpy()[np.asarray(state.mask) == 0], 0)
