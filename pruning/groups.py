"""Channels that stand or fall together."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ChannelGroup:
    """Channels that several layers make, pass on or read under one numbering, 0 to size - 1.

    Attributes:
        name: of the first layer that makes them.
        size: number of channels.
        producers: layers that make them: convolutions, dense layers.
        consumers: layers that read them with a kernel.
        members: layers in between: norms, depthwise convolutions, activations, merges.
        prunable: whether any of them can be removed.
        reason: why not, "" if prunable.
        passes_add: whether they go through a sum, as the stream of a residual network does.
    """

    name: str
    size: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    members: tuple[str, ...]
    prunable: bool
    reason: str
    passes_add: bool
