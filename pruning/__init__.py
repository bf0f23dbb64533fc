"""What any pruning method does to a Keras graph: find channel groups, remove channels, count what is left."""

from secateur.pruning.channel_graph import ChannelGraph, ChannelGroup, Keep
from secateur.pruning.shrink import mask, shrink

__all__ = ["ChannelGraph", "ChannelGroup", "Keep", "mask", "shrink"]
