"""Widths for a budget: what a network would cost at other widths, and widths that are multiples of a number."""

import collections
from collections.abc import Callable, Mapping

import keras
import numpy as np

from secateur.pruning import rules
from secateur.pruning.calls import Call
from secateur.pruning.channel_graph import ChannelGraph, Keep
from secateur.pruning.cost import kernel_macs
from secateur.utils.errors import UsageError

Widths = Mapping[str, int]
# Share 0 to 1 to the widths of all groups, wider for larger shares.
Family = Callable[[float], Widths]
# A kernel's multiply-accumulates at full width, and for each of its axes of channels (read, made) the shares of groups.
KernelCost = tuple[int, list[dict[str, float]]]


class WidthCost:
    """The multiply-accumulates of a network as a function of the widths of its channel groups.

    A kernel costs in proportion to the channels that it reads and to those that it makes, so nothing has to be built to
    know it. Exact for plans that leave each group at least one channel, where layers touch groups as a whole; a layer
    that makes or reads a part of a group (a branch whose concatenation is added to something) counts by proportion.
    """

    def __init__(self, graph: ChannelGraph):
        self.sizes = {name: group.size for name, group in graph.groups.items()}
        self._kernels = [kernel for call in graph.record.calls for kernel in kernel_costs(call, graph)]

    def macs(self, widths: Widths) -> int:
        """Of the whole network; groups not named keep their size."""
        left = {name: widths.get(name, size) / size for name, size in self.sizes.items()} | {"": 1.0}
        total = 0.0
        for count, ends in self._kernels:
            total += count * np.prod([sum(share * left[group] for group, share in end.items()) for end in ends])
        return round(float(total))


def kernel_costs(call: Call, graph: ChannelGraph) -> list[KernelCost]:
    """What each kernel of a call's layer costs; none for layers that cost nothing."""
    counts = kernel_macs(call)
    if not counts:
        return []
    ends = [group_shares(graph, tensor) for tensor in (call.inputs[0], call.outputs[0])]
    axes_of_kernels = rules.axes_of(call.layer)[: len(counts)]
    return [
        (count, [end for end, axis in zip(ends, axes, strict=True) if axis is not None])
        for count, axes in zip(counts, axes_of_kernels, strict=True)
    ]


def fitted(
    widths_at: Callable[[float], Widths],
    cost: Callable[[Widths], float],
    budget: float,
    steps: int,
    unit: str = "of the dense network's cost",
    remedy: str = "raise the target",
) -> Widths:
    """The widest plan of a family within a budget.

    Args:
        widths_at: share 0 to 1 to widths, wider for larger shares.
        cost: of widths, by counting or by measuring.
        budget: in the unit of `cost`.
        steps: evaluations of `cost`; each halves what is left of the range.
        unit, remedy: for the error: what the budget counts, and what helps.

    Raises:
        UsageError: even the narrowest plan costs more.
    """
    low, high = 0.0, 1.0
    best = widths_at(0.0)
    least = cost(best)
    if least > budget:
        raise UsageError(f"the narrowest network still costs {least:.4g} {unit}, more than {budget:.4g}: {remedy}")
    for _ in range(steps):
        middle = (low + high) / 2
        widths = widths_at(middle)
        if cost(widths) <= budget:
            low, best = middle, widths
        else:
            high = middle
    return best


def multiple_of(channel_multiple: str) -> int:
    """The number that `--channel_multiple` says; 1 for "auto", where measuring decides.

    Raises:
        ValueError: neither a number of 1 or more nor "auto".
    """
    if channel_multiple == "auto":
        return 1
    if not (channel_multiple.isdecimal() and int(channel_multiple)):
        raise ValueError(f"--channel_multiple {channel_multiple}: must be 1 or more, or auto")
    return int(channel_multiple)


def uniform_widths(sizes: Mapping[str, int], share: float) -> dict[str, int]:
    """The same share of every group, at least one channel."""
    return {name: max(1, round(share * size)) for name, size in sizes.items()}


def global_widths(
    scores: Mapping[str, np.ndarray], share: float, least: float = 0.0, most: float = 1.0
) -> dict[str, int]:
    """As many channels as one ranking of all groups gives each, at least one.

    Args:
        scores: of each group's channels, comparable between groups.
        least, most: bounds on the share of a group that stays.
    """
    ranking = np.sort(np.concatenate(list(scores.values())))[::-1]
    threshold = ranking[max(round(share * len(ranking)) - 1, 0)]
    shares = {name: np.clip(np.mean(values >= threshold), least, most) for name, values in scores.items()}
    return {name: max(1, round(float(shares[name]) * len(values))) for name, values in scores.items()}


def group_shares(graph: ChannelGraph, tensor: keras.KerasTensor) -> dict[str, float]:
    """The share of each group among a tensor's channels; "" stands for channels of no group."""
    groups = [graph.group_of(number) for number in graph.flows.of(tensor).tolist()]
    return {group: count / len(groups) for group, count in collections.Counter(groups).items()}


def nb_kept(nb_channels: int, ratio: float, multiple: int = 1) -> int:
    """How many of `nb_channels` stay when `ratio` of them goes: all but the whole part of ratio * nb_channels.

    Args:
        multiple: the number is rounded up to a multiple of this, but never above `nb_channels`.
    """
    return rounded_up(nb_channels - int(nb_channels * ratio + 1e-9), nb_channels, multiple)


def rounded_up(width: int, size: int, multiple: int) -> int:
    """The next multiple, but never above `size`."""
    return min(-(-width // multiple) * multiple, size)


def rounded(widths: Widths, multiple: int, cost: WidthCost) -> dict[str, int]:
    """The widths as multiples of a number, at no more MACs.

    All are rounded down, but not to nothing; then the groups that lost most get one multiple more, as long as the cost
    stays within that of the given widths. A group narrower than the multiple keeps its width.
    """
    found = {name: width // multiple * multiple or min(width, multiple) for name, width in widths.items()}
    budget = cost.macs(widths)
    by_loss = sorted(found, key=lambda name: found[name] / widths[name] if widths[name] else 1.0)
    for name in by_loss:
        wider = found | {name: min(found[name] + multiple, cost.sizes[name])}
        if found[name] < widths[name] and cost.macs(wider) <= budget:
            found = wider
    return found


def first_channels(widths: Widths) -> Keep:
    """The plan that keeps the first channels of every group: for measuring a shape before anything is chosen."""
    return {name: list(range(width)) for name, width in widths.items()}
