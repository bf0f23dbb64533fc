"""How wide each group becomes: by ratio, or by what the whole network may cost."""

import pathlib
from collections.abc import Callable, Collection, Mapping

import keras
import numpy as np

from secateur import export
from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.config import ChnPrunedConfig
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import WidthCost, Widths, first_channels, fitted, nb_kept, rounded
from secateur.utils.errors import UsageError

# Halvings of the range of shares, for a cost that is counted, built and counted, or measured.
STEPS = {"macs": 24, "params": 10, "latency": 7}

Scores = Mapping[str, np.ndarray]


def uniform_widths(scores: Scores, share: float) -> dict[str, int]:
    """The same share of every group, at least one channel."""
    return {name: max(1, round(share * len(values))) for name, values in scores.items()}


def global_widths(scores: Scores, share: float) -> dict[str, int]:
    """As many channels as the ranking of all groups together gives each, at least one."""
    relative = {name: ops.normalised(values) for name, values in scores.items()}
    ranking = np.sort(np.concatenate(list(relative.values())))[::-1]
    threshold = ranking[max(round(share * len(ranking)) - 1, 0)]
    return {name: max(1, int(np.sum(values >= threshold))) for name, values in relative.items()}


RANKINGS: dict[str, Callable[[Scores, float], dict[str, int]]] = {"uniform": uniform_widths, "global": global_widths}
# Share 0 to 1 to the widths of all groups, wider for larger shares.
Family = Callable[[float], Mapping[str, int]]


def allocate(
    config: ChnPrunedConfig,
    part: float,
    dense: keras.Model,
    model: keras.Model,
    groups: Collection[str],
    family: Family,
    folder: pathlib.Path,
) -> Widths:
    """The widths of all groups after one round.

    Args:
        part: of the way from the dense network to the goal, 1 in the last round.
        dense: the network before the first round; ratio and targets are shares of it.
        model: the network now.
        groups: names of those that are pruned.
        family: what `--chn_ranking` stands for.
        folder: for files that are timed.
    """
    ratio = part * config.chn_prune_ratio
    if config.target:
        kind, share = config.target
        widths = _by_target(config, (kind, 1 - part * (1 - share)), dense, model, family, folder)
    elif config.chn_ranking == "uniform":
        widths = _by_ratio(config, ratio, dense, groups)
    else:
        sizes = ChannelGraph(dense).groups
        left = (1 - ratio) * sum(sizes[name].size for name in groups)
        widths = fitted(family, lambda widths: sum(widths.values()), left, STEPS["macs"])
    if config.channel_multiple == "auto":
        widths = export.fastest_multiple(model, widths, folder)["widths"]
    return widths


def _by_ratio(config: ChnPrunedConfig, ratio: float, dense: keras.Model, groups: Collection[str]) -> Widths:
    graph = ChannelGraph(dense)
    multiple = 1 if config.channel_multiple == "auto" else int(config.channel_multiple)
    widths = {name: nb_kept(graph.groups[name].size, ratio, multiple) for name in groups}
    for name, width in widths.items():
        if width == 0 and not graph.removable(name):
            raise UsageError(
                f"--chn_prune_ratio {config.chn_prune_ratio} would remove all {graph.groups[name].size} channels of "
                f"{name}, and no shortcut goes around it: choose a ratio below 1"
            )
    return widths


def _by_target(
    config: ChnPrunedConfig,
    target: tuple[str, float],
    dense: keras.Model,
    model: keras.Model,
    family: Family,
    folder: pathlib.Path,
) -> Widths:
    """The widest network that keeps at most a share of the dense one's MACs, parameters or LiteRT time."""
    kind, share = target
    counted = WidthCost(model, ChannelGraph(model))
    multiple = 1 if config.channel_multiple == "auto" else int(config.channel_multiple)

    def widths_at(x: float) -> Widths:
        return rounded(family(x), multiple, counted)

    costs: dict[str, Callable[[Widths], float]] = {
        "macs": lambda widths: counted.macs(widths) / cost.macs(dense),
        "params": lambda widths: cost.params(shrink(model, first_channels(widths))) / cost.params(dense),
        "latency": lambda widths: export.relative_latency(dense, model, widths, folder),
    }
    return fitted(widths_at, costs[kind], share, STEPS[kind])
