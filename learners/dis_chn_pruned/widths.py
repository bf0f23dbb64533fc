"""How many channels of each group stay."""

from collections.abc import Sequence

import keras

from secateur import export
from secateur.learners.dis_chn_pruned.config import DisChnPrunedConfig
from secateur.pruning import ChannelGraph, ChannelGroup
from secateur.pruning.widths import multiple_of, nb_kept
from secateur.training.run import Run
from secateur.utils.errors import UsageError


def planned_widths(
    model: keras.Model, graph: ChannelGraph, groups: Sequence[ChannelGroup], config: DisChnPrunedConfig, run: Run
) -> dict[str, int]:
    """The channels that stay, by group; with an adaptive stop, those that may stay at most.

    Raises:
        UsageError: the ratio would remove all channels of a group that nothing goes around.
    """
    if config.dcp_adaptive_eps:
        return {group.name: group.size for group in groups}
    if config.channel_multiple != "auto":
        return {group.name: _nb_kept(graph, group, config, multiple_of(config.channel_multiple)) for group in groups}
    exact = {group.name: _nb_kept(graph, group, config, 1) for group in groups}
    if all(exact[group.name] in (0, group.size) for group in groups):
        return exact
    found = run.stage("widths", lambda: export.fastest_multiple(model, exact, run.directory / "widths"), alone=True)
    table = ", ".join(f"{name}: {value:.3f} ms" for name, value in found["milliseconds"].items())
    run.say(f"--channel_multiple auto takes multiples of {found['multiple']} ({table})")
    return found["widths"]


def _nb_kept(graph: ChannelGraph, group: ChannelGroup, config: DisChnPrunedConfig, multiple: int) -> int:
    kept = nb_kept(group.size, config.dcp_prune_ratio, multiple)
    if kept == 0 and not graph.removable(group.name):
        raise UsageError(
            f"--dcp_prune_ratio {config.dcp_prune_ratio} would remove all {group.size} channels of "
            f"{group.name}, and no shortcut goes around it: choose a ratio below 1"
        )
    return kept
