"""How many filters each layer or group keeps; fixed before the joint training begins."""

import functools
import pathlib
from collections.abc import Mapping

import keras
import numpy as np

from secateur import export
from secateur.learners.fcf.config import FcfConfig
from secateur.pruning import ChannelGraph, rules
from secateur.pruning.widths import Family, Widths, global_widths, multiple_of, rounded_up, uniform_widths

# Bounds on the share of a layer that one ranking of all filters may leave (the released code's).
LEAST, MOST = 0.1, 0.9


def nb_filters(size: int, ratio: float, multiple: int = 1) -> int:
    """The paper's count: the whole part of (1 - ratio) * size, at least one, here rounded up to a multiple."""
    return rounded_up(max(1, int((1 - ratio) * size + 1e-9)), size, multiple)


def filter_magnitudes(model: keras.Model, layer: str) -> np.ndarray:
    """Mean |w| of each filter of a layer, [C_out]."""
    _, axis = rules.axes_of(model.get_layer(layer))[0]
    kernel = np.abs(model.get_layer(layer).weights[0].numpy())
    return np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1).mean(axis=1)


def group_magnitudes(graph: ChannelGraph, group: str) -> np.ndarray:
    """Mean |w| of the filters that make each channel of a group, over all its layers, [C]."""
    total, count = np.zeros(graph.groups[group].size), np.zeros(graph.groups[group].size)
    for layer in graph.groups[group].producers:
        places = graph.places(group, graph.flows.producers[layer])
        own = places >= 0
        np.add.at(total, places[own], filter_magnitudes(graph.model, layer)[own])
        np.add.at(count, places[own], 1)
    return total / np.maximum(count, 1)


def family_of(ranking: str, magnitudes: Mapping[str, np.ndarray]) -> Family:
    """Share that stays to the widths of all, by `--fcf_ranking`."""
    if ranking == "uniform":
        return functools.partial(uniform_widths, {name: len(values) for name, values in magnitudes.items()})
    return functools.partial(global_widths, magnitudes, least=LEAST, most=MOST)


def planned_counts(
    config: FcfConfig, dense: keras.Model, magnitudes: Mapping[str, np.ndarray], folder: pathlib.Path
) -> Widths:
    """The number of filters that stay, by layer or group.

    Args:
        magnitudes: of what carries a scalar: groups or layers.
        folder: for files that are timed.
    """
    multiple = multiple_of(config.channel_multiple)
    family = family_of(config.fcf_ranking, magnitudes)
    if config.target:
        counts = export.widths_for_target(*config.target, dense, dense, family, config.channel_multiple, folder)
    elif config.fcf_ranking == "uniform":
        ratio = config.fcf_prune_ratio
        counts = {name: nb_filters(len(values), ratio, multiple) for name, values in magnitudes.items()}
    else:
        sizes = {name: len(values) for name, values in magnitudes.items()}
        counts = {name: rounded_up(n, sizes[name], multiple) for name, n in family(1 - config.fcf_prune_ratio).items()}
    if config.channel_multiple == "auto" and config.fcf_target_latency is None:
        counts = export.fastest_multiple(dense, counts, folder)["widths"]
    return dict(counts)
