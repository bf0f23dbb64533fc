"""What the stripes of each layer cost, and what all other kernels cost, read from the network's channel groups."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from secateur.learners.stripe.ops import OtherKernel, StripeLayer
from secateur.pruning import ChannelGraph
from secateur.pruning.blocks import calls_of, dispensable
from secateur.pruning.calls import Call
from secateur.pruning.widths import kernel_costs


def inner_groups(graph: ChannelGraph, calls: Sequence[Call]) -> list[str]:
    """The prunable channel groups that one convolution alone makes, a channel with each filter, by its name."""
    alone = {name: group for name, group in graph.groups.items() if group.prunable and not group.passes_add}
    filters = {call.layer.name: call.layer.filters for call in calls}
    return [name for name, group in alone.items() if group.producers == (name,) and group.size == filters.get(name)]


def stripe_layers(graph: ChannelGraph, calls: Sequence[Call], groups: Sequence[str]) -> dict[str, StripeLayer]:
    """What the stripes of each layer cost, in the network's order."""
    names = list(dict.fromkeys(call.layer.name for call in calls))
    may_go, counts = dispensable(graph.record, names), calls_of(graph.record)
    macs: Counter[str] = Counter()
    reads, readers = {}, {}
    for call in calls:
        ((count, (read, _)),) = kernel_costs(call, graph)
        macs[call.layer.name] += count
        reads[call.layer.name] = _by_source(read, groups)
    for name in groups:
        consumers = graph.groups[name].consumers
        known = all(reader in macs and counts[reader] == 1 for reader in consumers)
        readers[name] = tuple(consumers) if known and graph.removable(name) else ()
    return {name: StripeLayer(macs[name], reads[name], readers.get(name, ()), name not in may_go) for name in names}


def other_kernels(graph: ChannelGraph, layers: Collection[str], groups: Sequence[str]) -> list[OtherKernel]:
    """What the kernels of all other layers cost."""
    calls = [call for call in graph.record.calls if call.layer.name not in layers]
    costs = [cost for call in calls for cost in kernel_costs(call, graph)]
    return [OtherKernel(count, tuple(_by_source(end, groups) for end in ends)) for count, ends in costs]


def _by_source(shares: Mapping[str, float], groups: Collection[str]) -> dict[str, float]:
    """Shares of channels by the layers whose dead filters nothing reads, "" for all others."""
    found: Counter[str] = Counter()
    for group, share in shares.items():
        found[group if group in groups else ""] += share
    return dict(found)
