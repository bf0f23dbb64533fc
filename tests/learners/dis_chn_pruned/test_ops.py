import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from secateur.learners.dis_chn_pruned import ops

GENERATOR = np.random.default_rng(0)


def test_reconstruction_is_half_the_mean_square():
    a, b = GENERATOR.normal(size=(2, 3, 4, 5, 6))
    assert float(ops.reconstruction_loss(a, b)) == pytest.approx(np.square(a - b).sum() / (2 * a.size))


def test_norms_are_frobenius_over_all_readers():
    a, b = GENERATOR.normal(size=(3, 3, 4, 5)), GENERATOR.normal(size=(1, 1, 4, 7))
    expected = [np.sqrt((a[:, :, c] ** 2).sum() + (b[:, :, c] ** 2).sum()) for c in range(4)]
    np.testing.assert_allclose(ops.channel_norms([a, b], [range(4), range(4)], 4), expected, rtol=1e-6)


def test_norms_follow_channels_through_concatenation_and_flattening():
    conv, dense = GENERATOR.normal(size=(3, 3, 5, 2)), GENERATOR.normal(size=(6, 2))
    # The convolution reads two channels of another group first; the dense layer each of our three at two places.
    found = ops.channel_norms([conv, dense], [[-1, -1, 0, 1, 2], [0, 1, 2, 0, 1, 2]], 3)
    squares = [(conv[:, :, 2 + c] ** 2).sum() + (dense[[c, 3 + c]] ** 2).sum() for c in range(3)]
    np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-6)


def test_mask_zeroes_input_slices_of_its_own_channels():
    kernel = GENERATOR.normal(size=(3, 3, 5, 2))
    found = ops.masked(tf.constant(kernel), np.array([1, 0, 1]), tf.constant([-1, 0, 1, 2, 1])).numpy()
    assert (found[:, :, [2, 4]] == 0).all()
    np.testing.assert_array_equal(found[:, :, [0, 1, 3]], kernel[:, :, [0, 1, 3]])


@pytest.mark.parametrize(("now", "stops"), [(1.0, False), (1.989, False), (1.995, True), (2.0, True), (2.5, False)])
def test_adaptive_stop_compares_the_change_with_the_first_loss(now, stops):
    assert ops.gains_little(2.0, now, 10.0, 0.001) is stops


@pytest.mark.parametrize(
    ("norms", "mask", "selection", "expected"),
    [
        ([3, 1, 2], [0, 0, 0], "add", 0),
        ([3, 1, 2], [1, 0, 0], "add", 2),
        ([3, 1, 2], [1, 1, 1], "remove", 1),
        ([3, 1, 2], [1, 0, 1], "remove", 2),
        ([2, 2, 2], [0, 0, 0], "add", 0),
        ([2, 2, 2], [0, 1, 1], "remove", 1),
        ([np.nan, 1, 2], [0, 0, 1], "add", 1),
        ([np.nan, 1, np.inf], [0, 1, 1], "remove", 1),
        ([np.nan, np.nan, np.nan], [1, 0, 0], "add", 1),
        ([np.nan, np.inf, np.nan], [0, 1, 1], "remove", 1),
    ],
)
def test_pick(norms, mask, selection, expected):
    assert ops.picks(np.array(norms, np.float32), np.array(mask), selection, 1) == [expected]


def test_several_picks_are_those_that_one_by_one_would_make_of_the_same_norms():
    norms, mask = np.array([3, 5, np.nan, 4, 5], np.float32), np.array([0, 0, 0, 1, 0])
    assert ops.picks(norms, mask, "add", 3) == [1, 4, 0]
    assert ops.picks(norms, np.array([1, 1, 0, 1, 1]), "remove", 3) == [0, 3, 1]


@given(
    norms=st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True, min_value=None), min_size=1, max_size=12),
    selection=st.sampled_from(["add", "remove"]),
)
def test_every_selection_ends_with_different_channels(norms, selection):
    mask = np.full(len(norms), 0.0 if selection == "add" else 1.0)
    picks = []
    for _ in norms:
        picks += ops.picks(np.array(norms, np.float32), mask, selection, 1)
        mask[picks[-1]] = 1.0 - mask[picks[-1]]
    assert sorted(picks) == list(range(len(norms)))


@given(steps=st.integers(0, 1000), picks=st.integers(1, 70))
def test_what_rounds_share_is_spread_evenly_and_none_is_lost(steps, picks):
    spread = [ops.share_of_round(steps, picks, k) for k in range(picks)]
    assert sum(spread) == steps
    assert max(spread) - min(spread) <= 1
