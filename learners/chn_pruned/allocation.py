"""How wide each group becomes: by ratio, or by what the whole network may cost."""

import math
import pathlib
from collections.abc import Callable, Collection, Mapping

import keras
import numpy as np

from secateur import export
from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.config import ChnPrunedConfig
from secateur.pruning import ChannelGraph, cost
from secateur.pruning.widths import (
    Family,
    Widths,
    fitted,
    global_widths,
    multiple_of,
    nb_kept,
    rounded_up,
    uniform_widths,
)
from secateur.utils.errors import UsageError

Scores = Mapping[str, np.ndarray]
# Of the range of shares, where the cost of a plan is a sum of its widths.
NB_HALVINGS = 24
# Share of a group that one ranking of all channels leaves at least.
LEAST = 0.1


def _relative(scores: Scores) -> Scores:
    return {name: ops.normalised(values) for name, values in scores.items()}


RANKINGS: dict[str, Callable[[Scores, float], dict[str, int]]] = {
    "uniform": lambda scores, share: uniform_widths({name: len(values) for name, values in scores.items()}, share),
    "global": lambda scores, share: global_widths(_relative(scores), share, least=LEAST),
    # Network Slimming cuts all scales at one threshold; trained with an L1 norm they are comparable between layers.
    "slimming": lambda scores, share: global_widths(scores, share, least=LEAST),
}


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
    ratio, most_params = part * config.chn_prune_ratio, math.inf
    if config.target:
        kind, share = config.target
        goal = 1 - part * (1 - share)
        widths = export.widths_for_target(kind, goal, dense, model, family, config.channel_multiple, folder)
        if kind == "latency":
            return widths
        if kind == "params":
            most_params = math.floor(goal * cost.params(dense) + 1e-6)
    elif config.chn_ranking == "uniform":
        widths = _by_ratio(config, ratio, dense, groups)
    else:
        widths = _by_one_ranking(config, ratio, dense, groups, family)
    if config.channel_multiple == "auto":
        widths = export.fastest_multiple(model, widths, folder, most_params)["widths"]
    return widths


def _by_ratio(config: ChnPrunedConfig, ratio: float, dense: keras.Model, groups: Collection[str]) -> Widths:
    graph = ChannelGraph(dense)
    widths = {name: nb_kept(graph.groups[name].size, ratio, multiple_of(config.channel_multiple)) for name in groups}
    for name, width in widths.items():
        if width == 0 and not graph.removable(name):
            raise UsageError(
                f"--chn_prune_ratio {config.chn_prune_ratio} would remove all {graph.groups[name].size} channels of "
                f"{name}, and no shortcut goes around it: choose a ratio below 1"
            )
    return widths


def _by_one_ranking(
    config: ChnPrunedConfig, ratio: float, dense: keras.Model, groups: Collection[str], family: Family
) -> Widths:
    graph, multiple = ChannelGraph(dense), multiple_of(config.channel_multiple)
    sizes = {name: graph.groups[name].size for name in groups}
    remedy = (
        f"--chn_ranking {config.chn_ranking} leaves a tenth of every group, so choose a --chn_prune_ratio below "
        f"{config.chn_prune_ratio:g}, or --chn_ranking uniform"
    )
    left = (1 - ratio) * sum(sizes.values())
    widths = fitted(family, lambda widths: sum(widths.values()), left, NB_HALVINGS, "channels", remedy)
    return {name: rounded_up(width, sizes[name], multiple) for name, width in widths.items()}
