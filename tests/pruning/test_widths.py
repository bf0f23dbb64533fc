import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import WidthCost, first_channels, fitted, multiple_of, nb_kept, rounded
from secateur.utils.errors import UsageError
from tests.pruning import networks

# Those in which every layer touches its groups as a whole.
MODELS = [build for build in networks.ALL if build not in (networks.concatenated, networks.towers)]


@pytest.fixture(scope="module")
def resnet8():
    model = resnet((8, 8, 1), 3, 8, (12, 20, 28))
    return WidthCost(ChannelGraph(model))


@pytest.mark.parametrize("make", MODELS)
def test_cost_is_that_of_the_shrunk_network(make):
    model = make()
    graph = ChannelGraph(model)
    found = WidthCost(graph)
    assert found.macs({}) == cost.macs(model)
    generator = np.random.default_rng(0)
    widths = {n: int(generator.integers(1, g.size + 1)) for n, g in graph.groups.items() if g.prunable}
    assert found.macs(widths) == cost.macs(shrink(model, first_channels(widths)))


def test_parts_of_a_group_count_by_proportion():
    # Layer "a" makes 4 of the 9 channels of its group: which of them go is not known from the width.
    model = networks.concatenated()
    graph = ChannelGraph(model)
    found, size = WidthCost(graph), graph.groups["a"].size
    plans = [{"a": [k for k in range(size) if k != gone]} for gone in range(size)]
    exact = [cost.macs(shrink(model, plan)) for plan in plans]
    assert min(exact) <= found.macs({"a": size - 1}) <= max(exact)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), multiple=st.sampled_from([1, 2, 4, 8, 16]))
def test_rounded_widths_are_multiples_within_the_budget(resnet8, data, multiple):
    names = [f"stage{k}_block1_conv1" for k in (1, 2, 3)]
    widths = {name: data.draw(st.integers(1, resnet8.sizes[name])) for name in names}
    found = rounded(widths, multiple, resnet8)
    assert resnet8.macs(found) <= resnet8.macs(widths)
    for name, width in found.items():
        assert width % multiple == 0 or width in (widths[name], resnet8.sizes[name])
        assert 0 < width < widths[name] + multiple
        assert width <= resnet8.sizes[name]


def test_multiples_of_one_change_nothing(resnet8):
    widths = {"stage1_block1_conv1": 5, "stage3_block1_conv1": 13}
    assert rounded(widths, 1, resnet8) == widths


def test_what_is_left_of_the_budget_is_spent(resnet8):
    # 10 -> 8 saves enough for 19 -> 20, though not for both to grow.
    found = rounded({"stage1_block1_conv1": 10, "stage2_block1_conv1": 19}, 4, resnet8)
    assert found["stage1_block1_conv1"] == 8
    assert found["stage2_block1_conv1"] in (16, 20)
    assert resnet8.macs(found) <= resnet8.macs({"stage1_block1_conv1": 10, "stage2_block1_conv1": 19})


@pytest.mark.parametrize(
    ("channels", "ratio", "multiple", "kept"),
    [(16, 0.5, 1, 8), (16, 0.75, 1, 4), (10, 0.3, 1, 7), (64, 0.99, 1, 1), (16, 0, 1, 16), (16, 1, 1, 0)]
    + [(64, 0.7, 8, 24), (12, 0.3, 8, 12), (16, 1.0, 8, 0), (7, 0.5, 1, 4)],
)
def test_kept_channels(channels, ratio, multiple, kept):
    assert nb_kept(channels, ratio, multiple) == kept


def test_the_widest_plan_within_a_budget():
    seen = []

    def cost(widths):
        seen.append(widths["a"])
        return widths["a"] ** 2

    found = fitted(lambda share: {"a": 1 + round(99 * share)}, cost, budget=2500, steps=12)
    assert found == {"a": 50}
    assert len(seen) == 13


def test_a_budget_below_the_narrowest_plan():
    says = "the narrowest network still costs 4 channels, more than 3: keep more"
    with pytest.raises(UsageError, match=says):
        fitted(lambda share: {"a": 4}, lambda widths: widths["a"], 3, 5, "channels", "keep more")


def test_the_number_of_a_multiple():
    assert [multiple_of(text) for text in ("1", "8", "auto")] == [1, 8, 1]
    for wrong in ("0", "-8", "many", "1.5"):
        with pytest.raises(ValueError, match=f"--channel_multiple {wrong}: must be 1 or more, or auto"):
            multiple_of(wrong)
