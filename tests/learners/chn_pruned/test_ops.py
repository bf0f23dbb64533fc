import numpy as np
import pytest

from secateur.learners.chn_pruned import ops

FILTERS, GRADIENTS = np.random.default_rng(0).normal(size=(2, 5, 12))


def test_norms():
    np.testing.assert_allclose(ops.l1_norms(FILTERS), [np.abs(f).sum() for f in FILTERS])
    np.testing.assert_allclose(ops.l2_norms(FILTERS), [np.linalg.norm(f) for f in FILTERS])


def test_distances_by_hand_and_the_middle_is_least():
    expected = [sum(np.linalg.norm(a - b) for b in FILTERS) for a in FILTERS]
    np.testing.assert_allclose(ops.distances_to_others(FILTERS), expected, rtol=1e-6)
    line = np.arange(5.0)[:, None] * np.ones((1, 3))
    assert np.argmin(ops.distances_to_others(line)) == 2


def test_taylor_is_the_change_of_a_linear_loss():
    # The loss sum(gradient * weight) loses exactly that channel's share when the filter goes.
    total = (FILTERS * GRADIENTS).sum()
    for channel in range(5):
        without = FILTERS.copy()
        without[channel] = 0
        change = total - (without * GRADIENTS).sum()
        assert ops.first_order_change(FILTERS, GRADIENTS)[channel] == pytest.approx(change)


def test_batches_that_cancel_out_still_count():
    changes = np.array([[3.0, 1.0], [-3.0, 1.0]])
    np.testing.assert_allclose(ops.taylor_importance(changes), [9.0, 1.0])


def test_normalised_scores_have_mean_one_and_zeros_do_not_divide():
    assert ops.normalised(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert ops.normalised(np.zeros(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("scores", "count", "expected"),
    [([1, 3, 2], 2, [1, 2]), ([2, 2, 2], 2, [0, 1]), ([np.nan, 0, np.nan], 2, [0, 1]), ([1, 2], 0, [])],
)
def test_best(scores, count, expected):
    assert ops.best(np.array(scores, float), count) == expected
