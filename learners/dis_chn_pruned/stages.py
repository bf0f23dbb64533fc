"""How the network is divided: where the discrimination-aware losses sit and which layers each of them prunes.

Everything is read off the model's graph; no layer names are assumed.
"""

import collections
import dataclasses
from collections.abc import Sequence

import keras

from secateur.pruning import ChannelGraph, ChannelGroup
from secateur.utils.errors import UsageError

# Stages with a head, where nothing is said and the network has as many places.
NB_STAGES = 3


@dataclasses.dataclass(frozen=True)
class PruneStage:
    """One of the P + 1 blocks.

    Attributes:
        index: 1 … P + 1.
        head_at: name of the layer whose output carries the auxiliary head; None where the final loss is used.
        groups: the channel groups to prune, in the order of the network.
    """

    index: int
    head_at: str | None
    groups: tuple[ChannelGroup, ...]

    @property
    def name(self) -> str:
        return f"prune{self.index}"


def plan_stages(
    model: keras.Model, graph: ChannelGraph, nb_stages: int | None = None, scope: str = "block"
) -> list[PruneStage]:
    """Divide the convolutions evenly into `nb_stages` + 1 blocks that end where the network is one tensor wide.

    A group belongs to the block in which the last of its readers lies.

    Args:
        nb_stages: None: `NB_STAGES`, or as many as there are places where a head can sit.

    Raises:
        UsageError: more stages than such places, or a layer that is called more than once.
    """
    _check_calls(model, graph)
    order = {layer.name: k for k, layer in enumerate(model.layers)}
    cuts = _cut_points(model)
    nb_stages = min(NB_STAGES, len(cuts)) if nb_stages is None else nb_stages
    if nb_stages > len(cuts):
        raise UsageError(
            f"--dcp_nb_stages {nb_stages}: {model.name} has only {len(cuts)} places for an auxiliary loss: choose "
            f"--dcp_nb_stages {len(cuts)} or fewer"
        )
    heads = _spread(cuts, sum(_is_convolution(layer) for layer in model.layers), nb_stages)
    ends = [order[head] for head in heads] + [len(order)]
    groups = prunable_groups(model, graph, scope)
    stages = []
    for k, end in enumerate(ends):
        begin = ends[k - 1] if k else -1
        inside = [g for g in groups if begin < max(order[name] for name in g.consumers) <= end]
        stages.append(PruneStage(k + 1, heads[k] if k < len(heads) else None, tuple(inside)))
    return stages


def _check_calls(model: keras.Model, graph: ChannelGraph) -> None:
    """Cutting a network asks each layer for its input and its output, and gets those of its first call."""
    counts = collections.Counter(call.layer.name for call in graph.record.calls)
    name, count = max(counts.items(), key=lambda item: item[1])
    if count > 1:
        raise UsageError(
            f"{model.name} calls its layer {name} {count} times, and dis-chn-pruned cuts networks between layers that "
            "are called once: give each call a layer of its own, or choose --learner chn-pruned"
        )


def prunable_groups(model: keras.Model, graph: ChannelGraph, scope: str = "block") -> list[ChannelGroup]:
    """The groups that convolutions read, in the order of the network; in scope "block" those that pass no add."""
    layers = {layer.name: layer for layer in model.layers}
    order = {name: k for k, name in enumerate(layers)}
    groups = [g for g in graph.groups.values() if g.prunable and (scope == "all" or not g.passes_add)]
    read = [g for g in groups if _read_by_convolution([layers[name] for name in g.consumers])]
    return sorted(read, key=lambda g: max(order[name] for name in g.consumers))


def _read_by_convolution(readers: Sequence[keras.layers.Layer]) -> bool:
    """Whether at least one convolution reads the channels, and no reader has another kernel layout [..., C, F]."""
    known = all(_is_convolution(layer) or type(layer) is keras.layers.Dense for layer in readers)
    return known and any(_is_convolution(layer) for layer in readers)


def _cut_points(model: keras.Model) -> dict[str, int]:
    """Layers whose output alone the rest of the network reads, with the number of convolutions up to there.

    Of several in a row without a convolution between them (convolution, norm, activation) the last one counts; the
    places before the first and after the last convolution do not.
    """
    layers = [layer for layer in model.operations if not isinstance(layer, keras.layers.InputLayer)]
    unread = collections.Counter(id(tensor) for layer in layers for tensor in keras.tree.flatten(layer.input))
    live = {id(tensor) for tensor in model.inputs}
    nb_convolutions, cuts = 0, {}
    for layer in layers:
        nb_convolutions += _is_convolution(layer)
        unread.subtract(id(tensor) for tensor in keras.tree.flatten(layer.input))
        live = {tensor for tensor in live if unread[tensor]}
        outputs = keras.tree.flatten(layer.output)
        # An operation of keras.ops is no place for a head, because models find layers alone by their names.
        if not live and isinstance(layer, keras.layers.Layer) and [len(tensor.shape) for tensor in outputs] == [4]:
            cuts[nb_convolutions] = layer.name
        live |= {id(tensor) for tensor in outputs}
    return {name: count for count, name in cuts.items() if 0 < count < nb_convolutions}


def _spread(cuts: dict[str, int], nb_convolutions: int, nb_stages: int) -> list[str]:
    """The `nb_stages` distinct cuts nearest to an even division, in order."""
    heads: list[str] = []
    for p in range(1, nb_stages + 1):
        target = p * nb_convolutions / (nb_stages + 1)
        left = [name for name in cuts if name not in heads]
        heads.append(min(left, key=lambda name: abs(cuts[name] - target)))
    return sorted(heads, key=lambda name: cuts[name])


def _is_convolution(layer: keras.layers.Layer) -> bool:
    return type(layer) in (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D) and layer.groups == 1
