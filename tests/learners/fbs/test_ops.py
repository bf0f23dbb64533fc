import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.learners.fbs import ops


def chosen(saliency, nb_kept):
    return ops.winners(tf.constant(saliency, tf.float32), tf.constant(nb_kept)).numpy()


@given(nb=st.integers(1, 20), share=st.floats(0.01, 1.0), seed=st.integers(0, 99), ties=st.booleans())
@settings(max_examples=60, deadline=None)
def test_winners_by_sorting(nb, share, seed, ties):
    """The k largest by value, then by lower index; never one that is not positive."""
    nb_kept = ops.nb_winners(share, nb)
    saliency = np.maximum(np.random.default_rng(seed).normal(0.3, 1, (3, nb)), 0).astype(np.float32)
    saliency = np.round(saliency * 2) / 2 if ties else saliency
    found = chosen(saliency, nb_kept)
    for row, mask in zip(saliency, found, strict=True):
        order = sorted(range(nb), key=lambda k: (-row[k], k))[:nb_kept]
        assert np.flatnonzero(mask).tolist() == sorted(k for k in order if row[k] > 0)


@pytest.mark.parametrize(
    ("density", "nb", "expected"), [(0.5, 8, 4), (0.5, 9, 5), (0.01, 8, 1), (1.0, 8, 8), (0.3, 10, 3)]
)
def test_number_of_winners(density, nb, expected):
    assert ops.nb_winners(density, nb) == expected


def test_margin_of_the_last_winner_before_the_first_loser():
    saliency = tf.constant([[4.0, 1.0, 3.0, 2.5], [2.0, 2.0, 0.0, 2.0], [1.0, 0.0, 0.0, 0.0]])
    size = tf.constant([[9.0, 9.0, 5.0, 10.0]] * 3)
    np.testing.assert_allclose(ops.margin(saliency, size, 2), [0.05, 0.0, np.inf])
    np.testing.assert_array_equal(ops.margin(saliency, size, 4), np.inf)


def test_subsampling_is_the_mean_magnitude():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(ops.subsample(tf.constant(x)), np.abs(x).mean((1, 2)), rtol=1e-5)
    assert ops.subsample(tf.constant(x, tf.bfloat16)).dtype == tf.float32


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_a_tap_is_a_tensor_and_its_mean_magnitudes_with_their_gradients(nonnegative, dtype, tolerance):
    """Behind a ReLU, where it may forget about signs: the gradient of what is 0 ends there."""
    generator = np.random.default_rng(0)
    before = tf.cast(generator.normal(size=(2, 3, 5, 4)), dtype)
    weights = tf.cast(generator.normal(size=(2, 3, 5, 4)), dtype), tf.constant(generator.normal(size=(2, 4)), "float32")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(before)
        x = tf.nn.relu(before) if nonnegative else before
        found, expected = ops.tapped(x, nonnegative), (x, ops.subsample(x))
        products = [(pair[0] * weights[0], pair[1] * weights[1]) for pair in (found, expected)]
        sums = [sum(tf.reduce_sum(tf.cast(part, "float32")) for part in pair) for pair in products]
    np.testing.assert_array_equal(tf.cast(found[0], "float32"), tf.cast(x, "float32"))
    np.testing.assert_allclose(found[1], expected[1], rtol=tolerance)
    assert found[1].dtype == tf.float32
    mine, formula = (tf.cast(tape.gradient(total, before), "float32") for total in sums)
    np.testing.assert_allclose(mine, formula, rtol=tolerance, atol=tolerance)


def test_gates_are_the_winners_saliencies_or_relative_to_their_mean():
    saliency = tf.constant([[3.0, 1.0, 2.0, 0.0]])
    np.testing.assert_allclose(ops.gates(saliency, tf.constant(2), False), [[3.0, 0, 2.0, 0]])
    found = ops.gates(saliency, tf.constant(2), True)
    np.testing.assert_allclose(found, np.array([[3.0, 0, 2.0, 0]]) / (5 / 4), rtol=1e-5)
    assert np.isfinite(ops.gates(tf.zeros((1, 4)), tf.constant(2), True)).all()


def test_gradients_reach_the_winners_alone():
    saliency = tf.Variable([[3.0, 1.0, 2.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(ops.gates(saliency.value(), tf.constant(2), False) * tf.constant([[5.0, 6.0, 7.0]]))
    np.testing.assert_allclose(tape.gradient(total, saliency), [[5.0, 0.0, 7.0]])
