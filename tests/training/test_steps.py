import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.nets.resnet import resnet
from secateur.training import steps
from secateur.training.task import Recipe, cross_entropy
from secateur.utils.errors import UsageError

RECIPE = Recipe(nb_epochs=1, learning_rate=0.1, nb_epochs_ft=1, learning_rate_ft=0.1)
IMAGES = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)


def linear(heads: int = 1, **config) -> keras.Model:
    inputs = keras.Input((5,))
    outputs = [keras.layers.Dense(3, name=f"logits{k}", **config)(inputs) for k in range(heads)]
    return keras.Model(inputs, outputs if heads > 1 else outputs[0])


def test_one_step_of_nesterov_with_coupled_decay_by_hand():
    model = linear()
    kernel, bias = (w.copy() for w in model.get_weights())
    step = steps.train_step(model, steps.sgd(RECIPE, 0.1), cross_entropy, weight_decay=0.01)
    metrics = step(tf.constant(IMAGES), tf.constant(LABELS))
    logits = IMAGES @ kernel + bias
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (softmax - np.eye(3)[LABELS]) / 8
    # Nesterov's first step is (1 + momentum) times the gradient.
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.19 * (IMAGES.T @ error + 0.01 * kernel), atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias - 0.19 * error.sum(0), atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(-np.log(softmax[np.arange(8), LABELS]).mean(), rel=1e-5)
    assert float(metrics["accuracy"]) == np.mean(logits.argmax(1) == LABELS)


def test_auxiliary_heads_are_trained_but_not_reported():
    model = linear(heads=2)
    before = model.get_layer("logits1").get_weights()[0]
    alone = cross_entropy(LABELS, model(IMAGES)[0])
    metrics = steps.train_step(model, keras.optimizers.SGD(0.1), cross_entropy, 0.0, nb_heads=1)(IMAGES, LABELS)
    assert float(metrics["loss"]) == pytest.approx(float(alone), rel=1e-6)
    assert np.abs(model.get_layer("logits1").get_weights()[0] - before).max() > 0


def test_outputs_that_are_no_heads_are_refused():
    with pytest.raises(UsageError, match=r"has 1 input\(s\) and 2 output\(s\): must be one of each"):
        steps.train_step(linear(heads=2), keras.optimizers.SGD(0.1), cross_entropy, 0.0)


def test_probabilities_need_a_loss_of_their_own():
    model = linear(activation="softmax")
    with pytest.raises(UsageError, match="ends with a softmax"):
        steps.train_step(model, keras.optimizers.SGD(0.1), cross_entropy, 0.0)

    def own(labels, probabilities):
        return -tf.reduce_mean(tf.math.log(tf.gather(probabilities, labels, axis=1, batch_dims=1)))

    expected = float(own(LABELS, model(IMAGES)))
    metrics = steps.train_step(model, keras.optimizers.SGD(0.1), own, 0.0)(tf.constant(IMAGES), tf.constant(LABELS))
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-5)


def test_what_layers_add_to_the_losses_is_trained_on():
    plain, model = linear(), linear(kernel_regularizer=keras.regularizers.L2(0.5))
    model.set_weights(plain.get_weights())
    for one, decay in ((plain, 1.0), (model, 0.0)):  # the regularizer's factor has no half
        steps.train_step(one, steps.sgd(RECIPE, 0.1), cross_entropy, decay)(tf.constant(IMAGES), tf.constant(LABELS))
    np.testing.assert_allclose(model.get_weights()[0], plain.get_weights()[0], atol=1e-6)


def test_what_is_not_trained_stays_and_norms_follow_the_batches():
    inputs = keras.Input((5,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(4, name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(x))
    before = {v.path: v.numpy() for v in model.variables}
    last = model.get_layer("last").trainable_variables
    step = steps.train_step(model, steps.sgd(RECIPE, 0.1), cross_entropy, 0.1, trained=last)
    step(tf.constant(IMAGES), tf.constant(LABELS))
    moved = {v.path for v in model.variables if np.abs(v.numpy() - before[v.path]).max() > 0}
    assert moved == {"last/kernel", "last/bias", "norm/moving_mean", "norm/moving_variance"}


def test_a_step_of_ones_own_gets_the_gradients_of_what_it_names():
    model, factor, seen = linear(), keras.Variable(2.0), []
    kernel = model.get_weights()[0]

    def update(gradients):
        seen.append([tuple(gradient.shape) for gradient in gradients])
        factor.assign_sub(gradients[1])
        return {"pull": gradients[1]}

    weight = model.layers[1].kernel
    step = steps.train_step(
        model,
        keras.optimizers.SGD(0.1),
        lambda labels, logits: cross_entropy(labels, logits) * 0.0,
        0.5,
        replaced=lambda: [(weight, weight.value * factor.value)],
        trained=[weight, factor],
        decayed=[factor],
        update=update,
    )
    metrics = step(tf.constant(IMAGES), tf.constant(LABELS))
    assert seen[-1] == [(5, 3), ()]
    # Of the decay alone, 0.5 / 2 * factor^2, and the optimizer did nothing.
    assert float(metrics["pull"]) == 1.0
    assert float(factor) == 1.0
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


def test_float16_scales_the_loss_and_skips_a_step_that_overflows():
    assert isinstance(steps.scaled_for("float16", steps.sgd(RECIPE, 0.1)), keras.optimizers.LossScaleOptimizer)
    optimizer = steps.scaled_for("float16", keras.optimizers.SGD(0.1))
    model = linear(dtype="mixed_float16")
    step = steps.train_step(model, optimizer, cross_entropy, 0.0)
    before = model.get_weights()
    step(tf.constant(IMAGES * np.float32(1e6)), tf.constant(LABELS))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    step(tf.constant(IMAGES), tf.constant(LABELS))
    assert np.abs(model.get_weights()[0] - before[0]).max() > 0


def test_other_precisions_are_not_scaled():
    optimizer = steps.sgd(RECIPE, 0.1)
    assert steps.scaled_for("bfloat16", optimizer) is optimizer


def test_decay_acts_on_kernels_only():
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(3, 1, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)))
    assert [v.path for v in steps.decayed_kernels(model)] == ["conv/kernel", "logits/kernel"]
    kernels = [v.numpy() for v in steps.decayed_kernels(model)]
    expected = 0.3 / 2 * sum((k**2).sum() for k in kernels)
    assert float(steps.l2_loss(steps.decayed_kernels(model), 0.3)) == pytest.approx(expected, rel=1e-5)


def test_l1_on_norm_scales_shrinks_them_alone(randomise):
    images = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 1)).astype(np.float32)
    after = {}
    for factor in (0.0, 1.0):
        model = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
        norms = {"stem_norm": factor, "stage2_block1_conv1_norm": factor}
        before = {v.path: v.numpy() for v in model.trainable_variables}
        step = steps.train_step(model, steps.sgd(RECIPE, 0.01), cross_entropy, 0.0, norm_l1=norms)
        step(tf.constant(images), tf.constant(LABELS))
        after[factor] = {v.path: v.numpy() for v in model.trainable_variables}
    for path, value in after[0.0].items():
        # The first Nesterov step goes 1 + momentum times as far as the gradient.
        chosen = path in ("stem_norm/gamma", "stage2_block1_conv1_norm/gamma")
        moved = 0.019 * np.sign(before[path]) if chosen else 0.0
        np.testing.assert_allclose(after[1.0][path], value - moved, atol=1e-5)


def test_a_step_that_is_gone_leaves_nothing_behind():
    """Else pruning layer by layer keeps a copy of the network for each layer."""
    model = resnet((8, 8, 1), 3, 8, (2, 2, 2))
    step = steps.train_step(model, steps.sgd(RECIPE, 0.1), cross_entropy, 0.0)
    traced = step.get_concrete_function(tf.TensorSpec((2, 8, 8, 1)), tf.TensorSpec((2,), tf.int32))
    left = [weakref.ref(traced.graph), weakref.ref(model.layers[1])]
    assert all(ref() is not None for ref in left)
    del model, step, traced
    gc.collect()
    assert [ref() for ref in left] == [None, None]
