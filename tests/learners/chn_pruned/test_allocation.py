import functools

import numpy as np
import pytest

from secateur import export
from secateur.learners.chn_pruned.allocation import RANKINGS, allocate
from secateur.learners.chn_pruned.config import ChnPrunedConfig
from secateur.nets.resnet import resnet
from secateur.pruning import cost, shrink
from secateur.pruning.widths import first_channels
from secateur.utils.errors import UsageError

NAMES = [f"stage{k}_block1_conv1" for k in (1, 2, 3)]
SCORES = {name: np.arange(1.0, size + 1) for name, size in zip(NAMES, (12, 20, 28), strict=True)}


@pytest.fixture(scope="module")
def dense():
    return resnet((8, 8, 1), 3, 8, (12, 20, 28))


def allocated(config, part, dense, model, scores, folder):
    return allocate(config, part, dense, model, scores, functools.partial(RANKINGS[config.chn_ranking], scores), folder)


def test_uniform_and_global_rankings():
    assert list(RANKINGS["uniform"](SCORES, 0.5).values()) == [6, 10, 14]
    assert list(RANKINGS["uniform"](SCORES, 0.0).values()) == [1, 1, 1]
    scores = {"a": np.array([1.0, 1.0, 1.0, 1.0]), "b": np.array([4.0, 0.0, 0.0, 0.0])}
    # Relative to the mean: a has four ones, b a four and zeros.
    assert RANKINGS["global"](scores, 5 / 8) == {"a": 4, "b": 1}
    assert RANKINGS["global"](scores, 1.0) == {"a": 4, "b": 4}


@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("ranking", ["uniform", "global"])
def test_counted_targets_are_met_closely(dense, tmp_path, kind, ranking):
    config = ChnPrunedConfig(**{f"chn_target_{kind}": 0.6, "chn_ranking": ranking})
    widths = allocated(config, 1.0, dense, dense, SCORES, tmp_path)
    count = getattr(cost, kind)
    share = count(shrink(dense, first_channels(widths))) / count(dense)
    assert 0.52 < share <= 0.6


def test_rounds_go_to_the_goal_in_steps(dense, tmp_path):
    config = ChnPrunedConfig(chn_prune_ratio=0.5, chn_nb_rounds=2)
    half = allocated(config, 0.5, dense, dense, SCORES, tmp_path)
    assert list(half.values()) == [9, 15, 21]
    smaller = shrink(dense, first_channels(half))
    left = {name: values[: half[name]] for name, values in SCORES.items()}
    assert list(allocated(config, 1.0, dense, smaller, left, tmp_path).values()) == [6, 10, 14]


def test_latency_is_fitted_by_measuring(dense, tmp_path, monkeypatch):
    times = {name: lambda widths: sum(widths.values()) / 60 for name in ("even", "steps")}
    # A width that is no multiple of 4 costs as much as the next one that is.
    times["steps"] = lambda widths: sum(-(-width // 4) * 4 for width in widths.values()) / 60
    found = {}
    for name, time in times.items():
        measured = functools.partial(lambda time, _, __, plans, ___: {k: time(v) for k, v in plans.items()}, time)
        monkeypatch.setattr(export.widths, "relative_latencies", measured)
        config = ChnPrunedConfig(chn_target_latency=0.7, channel_multiple="auto")
        found[name] = allocated(config, 1.0, dense, dense, SCORES, tmp_path)
        assert 0.65 < time(found[name]) <= 0.7 * 1.02
    assert all(width % 4 == 0 for width in found["steps"].values())


def test_a_target_out_of_reach(dense, tmp_path):
    with pytest.raises(UsageError, match="the narrowest network still costs"):
        allocated(ChnPrunedConfig(chn_target_macs=0.01), 1.0, dense, dense, SCORES, tmp_path)


def test_a_ratio_over_one_ranking_counts_all_channels(dense, tmp_path):
    config = ChnPrunedConfig(chn_prune_ratio=0.4, chn_ranking="global")
    widths = allocated(config, 1.0, dense, dense, SCORES, tmp_path)
    assert 0.55 * 60 < sum(widths.values()) <= 0.6 * 60
