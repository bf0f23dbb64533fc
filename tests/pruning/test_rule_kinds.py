import keras
import numpy as np
import pytest

from secateur.pruning import rule_kinds

FLOW = np.array([4, 7, 9])
layers = keras.layers


def test_each_channel_makes_so_many_in_a_row():
    flow = rule_kinds.multiplied(None, FLOW, (None, 2, 2, 3), (None, 2, 2, 6))
    assert flow.tolist() == [4, 4, 7, 7, 9, 9]


@pytest.mark.parametrize(("axis", "passes"), [(-1, True), (3, True), (1, False)])
def test_a_layer_that_works_on_the_last_axis_passes_channels_on(axis, passes):
    shape = (None, 2, 2, 3)
    flow = rule_kinds.on_last_axis(layers.BatchNormalization(axis=axis), FLOW, shape, shape)
    assert (flow is FLOW) is passes


@pytest.mark.parametrize(
    ("layer", "shapes", "expected"),
    [
        (layers.Flatten(), ((None, 2, 1, 3), (None, 6)), [4, 7, 9, 4, 7, 9]),
        (layers.Reshape((2, 3)), ((None, 2, 1, 3), (None, 2, 3)), [4, 7, 9]),
        (layers.Reshape((3, 2)), ((None, 2, 1, 3), (None, 3, 2)), None),  # channels end up on two axes
        (layers.Permute((2, 1, 3)), ((None, 2, 5, 3), (None, 5, 2, 3)), [4, 7, 9]),
        (layers.Permute((3, 1, 2)), ((None, 2, 5, 3), (None, 3, 2, 5)), None),
        (layers.Flatten(), ((None, None, None, 3), (None, None)), None),
    ],
)
def test_numbers_go_through_a_reshape_like_values(layer, shapes, expected):
    flow = rule_kinds.rearranged(layer, FLOW, *shapes)
    assert (None if flow is None else flow.tolist()) == expected


def test_channels_of_a_norm_s_group_go_together():
    flow = np.arange(6)
    assert rule_kinds.norm_groups(layers.GroupNormalization(groups=2), flow).tolist() == [0, 0, 0, 1, 1, 1]
    assert rule_kinds.norm_groups(layers.GroupNormalization(groups=-1), flow).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_norm_over_all_channels_passes_none_on():
    shape = (None, 2, 2, 3)
    assert rule_kinds.group_norm_flow(layers.GroupNormalization(groups=1), FLOW, shape, shape) is None
    assert rule_kinds.group_norm_flow(layers.GroupNormalization(groups=3), FLOW, shape, shape) is FLOW


def test_weights_that_hold_no_value_per_channel_pass_none_on():
    shared, own = layers.PReLU(shared_axes=[1, 2, 3]), layers.PReLU(shared_axes=[1, 2])
    for layer in (shared, own):
        layer.build((None, 2, 2, 3))
    shape = (None, 2, 2, 3)
    assert rule_kinds.per_channel(shared, FLOW, shape, shape) is None
    assert rule_kinds.per_channel(own, FLOW, shape, shape) is FLOW
