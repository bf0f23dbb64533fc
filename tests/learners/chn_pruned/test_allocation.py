import dataclasses
import functools
import math
import types

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


@pytest.mark.parametrize("reached", [True, False])
def test_a_time_that_only_uniform_widths_reach(dense, tmp_path, monkeypatch, reached):
    """The family by time has eight levels of each group, so its narrowest plan is wider than one channel of each."""
    monkeypatch.setattr(
        export.widths, "relative_latencies", lambda _, __, plans, ___: {k: time(v) for k, v in plans.items()}
    )
    narrowest = dict.fromkeys(NAMES, 1)

    def time(widths):
        return 0.1 if dict(widths) == narrowest else 0.5

    config = ChnPrunedConfig(chn_target_latency=0.15 if reached else 0.05, channel_multiple="1")
    if reached:
        assert allocated(config, 1.0, dense, dense, SCORES, tmp_path) == narrowest
        return
    with pytest.raises(UsageError, match=r"still takes 0.1 of the dense network's LiteRT time, more than 0.05: raise"):
        allocated(config, 1.0, dense, dense, SCORES, tmp_path)


def test_a_target_out_of_reach(dense, tmp_path):
    with pytest.raises(UsageError, match="the narrowest network still costs"):
        allocated(ChnPrunedConfig(chn_target_macs=0.01), 1.0, dense, dense, SCORES, tmp_path)


def test_a_ratio_out_of_reach_of_one_ranking(dense, tmp_path):
    config = ChnPrunedConfig(chn_prune_ratio=0.95, chn_ranking="global")
    says = "costs 6 channels, more than 3: --chn_ranking global leaves a tenth .* below 0.95, or --chn_ranking uniform"
    with pytest.raises(UsageError, match=says):
        allocated(config, 1.0, dense, dense, SCORES, tmp_path)


@pytest.mark.parametrize("ranking", ["uniform", "global"])
def test_every_ranking_rounds_up_to_the_multiple(dense, tmp_path, ranking):
    config = ChnPrunedConfig(chn_prune_ratio=0.5, chn_ranking=ranking, channel_multiple="8")
    exact = allocated(dataclasses.replace(config, channel_multiple="1"), 1.0, dense, dense, SCORES, tmp_path)
    widths = allocated(config, 1.0, dense, dense, SCORES, tmp_path)
    sizes = dict(zip(NAMES, (12, 20, 28), strict=True))
    assert widths == {name: min(-(-exact[name] // 8) * 8, sizes[name]) for name in NAMES}
    assert widths != exact


def test_the_fastest_multiple_stays_within_the_parameters(dense, tmp_path, monkeypatch):
    """Rounding keeps to the MACs, which a narrower early layer can save for a wider late one of many parameters."""
    monkeypatch.setattr(export.widths, "save_tflite", lambda *_: None)
    monkeypatch.setattr(
        export.widths, "measure", lambda files: {name: types.SimpleNamespace(median=-int(name)) for name in files}
    )
    exact = {NAMES[0]: 11, NAMES[1]: 7, NAMES[2]: 15}
    limit = cost.params(shrink(dense, first_channels(exact)))
    measured = export.fastest_multiple(dense, exact, tmp_path)["milliseconds"]
    found = export.fastest_multiple(dense, exact, tmp_path, limit)
    assert {"1"} <= set(found["milliseconds"]) < set(measured)
    assert cost.params(shrink(dense, first_channels(found["widths"]))) <= limit


def test_a_target_of_parameters_holds_for_every_multiple(dense, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(export, "fastest_multiple", lambda *given: asked.append(given) or {"widths": given[1]})
    allocated(ChnPrunedConfig(chn_target_params=0.6, channel_multiple="auto"), 1.0, dense, dense, SCORES, tmp_path)
    allocated(ChnPrunedConfig(channel_multiple="auto"), 1.0, dense, dense, SCORES, tmp_path)
    assert [given[3] for given in asked] == [int(0.6 * cost.params(dense)), math.inf]


def test_a_ratio_over_one_ranking_counts_all_channels(dense, tmp_path):
    config = ChnPrunedConfig(chn_prune_ratio=0.4, chn_ranking="global")
    widths = allocated(config, 1.0, dense, dense, SCORES, tmp_path)
    assert 0.55 * 60 < sum(widths.values()) <= 0.6 * 60
