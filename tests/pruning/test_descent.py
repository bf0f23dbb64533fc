import functools
import itertools

import pytest

from secateur.pruning.descent import descent, levels_of, shares_of
from secateur.pruning.widths import uniform_widths

SIZES = {"a": 16, "b": 32}
UNIFORM = functools.partial(uniform_widths, SIZES)
LEVELS = {name: levels_of(size, None) for name, size in SIZES.items()}
COSTS = {"a": 3.0, "b": 1.0}


def in_tiles(tile):
    """Times of groups whose kernels compute `tile` channels at once."""
    return lambda name, plans: [COSTS[name] * -(-plan[name] // tile) * tile for plan in plans]


@pytest.mark.parametrize(
    ("size", "multiple", "levels"),
    [
        (16, None, [2, 4, 6, 8, 10, 12, 14, 16]),
        (144, None, [16, 32, 48, 64, 96, 112, 128, 144]),
        (64, 32, [32, 64]),
        (20, 8, [8, 16, 20]),
        (5, None, [1, 2, 3, 4, 5]),
        (1, None, [1]),
        (3, 8, [3]),
    ],
)
def test_levels_are_multiples_up_to_the_size(size, multiple, levels):
    assert levels_of(size, multiple) == levels


def test_shares_are_the_least_at_which_the_family_is_as_wide():
    shares = shares_of(UNIFORM, LEVELS)
    assert shares["a"][8] == pytest.approx(0.5, abs=0.04)
    assert shares["b"][32] == pytest.approx(1.0, abs=0.02)
    bounded = shares_of(lambda share: {"a": min(UNIFORM(share)["a"], 12), "b": 32}, LEVELS)
    assert max(bounded["a"]) == 12
    assert set(bounded["b"].values()) == {1 / 200}


def test_where_time_is_even_the_dearer_group_goes_first():
    plans = descent(shares_of(UNIFORM, LEVELS), in_tiles(1))
    assert plans[0] == ({"a": 16, "b": 32}, 0.0)
    assert plans[1][0]["a"] < 16
    assert plans[1][0]["b"] == 32
    assert plans[-1][0] == {"a": 2, "b": 4}
    for (wide, less), (narrow, more) in itertools.pairwise(plans):
        assert all(narrow[name] <= wide[name] for name in SIZES)
        assert more > less
    total = sum(COSTS[name] * size for name, size in SIZES.items())
    for plan, saved in plans:
        assert saved == pytest.approx(total - sum(COSTS[name] * width for name, width in plan.items()))


def test_only_widths_that_save_time_are_chosen():
    plans = descent(shares_of(UNIFORM, LEVELS), in_tiles(16))
    assert [plan for plan, _ in plans] == [{"a": 16, "b": 32}, {"a": 16, "b": 16}]


def test_a_group_that_the_family_protects_keeps_its_width():
    def family(share):
        return {"a": 16, "b": UNIFORM(share)["b"]}

    last, _ = descent(shares_of(family, {"a": [16], "b": LEVELS["b"]}), in_tiles(1))[-1]
    assert last == {"a": 16, "b": 4}
