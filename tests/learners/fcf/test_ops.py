import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.learners.fcf import ops
from secateur.learners.fcf.osqp_projection import TOLERANCE, OsqpProjection
from secateur.utils.errors import RunError


def rows(sizes, seed, scale=1.0):
    """Random rows [G, C] and their mask, zero outside."""
    mask = np.zeros((len(sizes), max(sizes)), np.float32)
    for row, size in enumerate(sizes):
        mask[row, :size] = 1
    values = np.random.default_rng(seed).normal(0.5, scale, mask.shape).astype(np.float32)
    return values * mask, mask


@given(
    sizes=st.lists(st.integers(1, 80), min_size=1, max_size=4),
    share=st.floats(0.0, 1.0),
    scale=st.floats(0.01, 5.0),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_bisection_agrees_with_osqp(sizes, share, scale, seed):
    values, mask = rows(sizes, seed, scale)
    counts = [max(1, round(share * size)) for size in sizes]
    found = ops.box_projection(tf.constant(values), tf.constant(counts, tf.float32), tf.constant(mask)).numpy()
    expected = projection(sizes, counts)(tf.constant(values), None, None).numpy()
    np.testing.assert_allclose(found, expected, atol=5 * TOLERANCE)
    assert np.all((found >= 0) & (found <= mask))
    np.testing.assert_allclose(found.sum(axis=1), counts, atol=1e-3)


def projection(sizes, counts) -> OsqpProjection:
    return OsqpProjection(dict(enumerate(sizes)), dict(enumerate(counts)))


def test_osqp_begins_where_its_variables_say():
    """With those of a checkpoint another process goes on with the very same numbers."""
    values, _ = rows([16, 40], 0)
    first, second = projection([16, 40], [12, 30]), projection([16, 40], [12, 30])
    for k in range(5):
        first(tf.constant(values + 0.1 * k), None, None)
    for copy, variable in zip(second.variables, first.variables, strict=True):
        copy.assign(variable)
    found = [solver(tf.constant(values - 0.3), None, None).numpy() for solver in (first, second)]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.any(first.variables[1].numpy())


def test_a_solver_that_fails_is_named():
    solver = OsqpProjection({"stem": 4, "first": 2}, {"stem": 2, "first": 3})
    solver.refuse_failure()
    solver(tf.zeros((2, 4)), None, None)
    with pytest.raises(RunError, match=r"OSQP: .*infeasible for the scalars of first; take --fcf_solver bisection"):
        solver.refuse_failure()


def test_box_projection_of_a_feasible_point_is_itself():
    point = np.array([[0.25, 0.75, 1.0, 0.0]], np.float32)
    found = ops.box_projection(tf.constant(point), tf.constant([2.0]), tf.ones((1, 4)))
    np.testing.assert_allclose(found, point, atol=1e-5)


def test_sphere_projection_lies_on_the_sphere_and_keeps_corners():
    values, mask = rows([3, 7], 1)
    found = ops.sphere_projection(tf.constant(values), tf.constant(mask)).numpy()
    radii = [np.sum((found[k, :size] - 0.5) ** 2) for k, size in enumerate((3, 7))]
    np.testing.assert_allclose(radii, [3 / 4, 7 / 4], rtol=1e-5)
    assert not found[0, 3:].any()
    corner = np.array([[1.0, 0, 0, 1, 1]], np.float32)
    np.testing.assert_allclose(ops.sphere_projection(tf.constant(corner), tf.ones((1, 5))), corner, atol=1e-6)


def test_penalty_gradient_is_that_of_the_lagrangian():
    generator = np.random.default_rng(0)
    v, z1, z2, y1, y2 = (tf.constant(generator.normal(size=(2, 5)).astype(np.float32)) for _ in range(5))
    with tf.GradientTape() as tape:
        tape.watch(v)
        terms = y1 * (v - z1) + y2 * (v - z2) + 0.7 / 2 * ((v - z1) ** 2 + (v - z2) ** 2)
        penalty = tf.reduce_sum(terms)
    np.testing.assert_allclose(
        ops.penalty_gradient(v, z1, z2, y1, y2, tf.constant(0.7)), tape.gradient(penalty, v), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("row", "expected"), [([0.0, 1.0, 1.0], 0.0), ([0.1, 0.9, 1.3], 0.3), ([0.5, 0.0, 9.0], 0.5)])
def test_distance_to_binary(row, expected):
    mask = tf.constant([[1.0, 1.0, float(row[2] < 5)]])
    assert float(ops.distance_to_binary(tf.constant([row]), mask)[0]) == pytest.approx(expected)
