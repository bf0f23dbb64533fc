"""The criteria applied to a network: one score for each channel of each group."""

from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.chn_pruned import ops
from secateur.pruning import ChannelGraph, ChannelGroup, rules
from secateur.training.task import Task

FUNCTIONS = {"l1": ops.l1_norms, "l2": ops.l2_norms, "fpgm": ops.distances_to_others}


def scores_of(
    criterion: str, graph: ChannelGraph, groups: Sequence[ChannelGroup], task: Task, batches: Iterable, seed: int
) -> dict[str, np.ndarray]:
    """Group to the importance of its channels, [C].

    Args:
        criterion: a name that `--chn_criterion` takes.
        batches: (images, labels), read by the criterion "taylor" alone.
        seed: of the criterion "random".
    """
    if criterion == "random":
        generator = np.random.default_rng(seed)
        return {group.name: generator.random(group.size) for group in groups}
    if criterion == "bn":
        return {group.name: _norm_scales(graph, group) for group in groups}
    kernels = {name: _kernel(graph.model.get_layer(name)) for group in groups for name in group.producers}
    if criterion == "taylor":
        gradients = _gradients(graph.model, {name: kernel for name, (kernel, _) in kernels.items()}, task, batches)
    scores = {}
    for group in groups:
        filters = _filters(graph, group, kernels)
        if criterion == "taylor":
            moved = {name: (gradients[name], axis) for name, (_, axis) in kernels.items()}
            scores[group.name] = ops.taylor_changes(filters, _filters(graph, group, moved))
        else:
            scores[group.name] = FUNCTIONS[criterion](filters)
    return scores


def _kernel(layer: keras.layers.Layer) -> tuple[keras.Variable, int]:
    """The weight array that makes a layer's channels, and its axis of the channels made."""
    return next(
        (w, made) for w, (_, made) in zip(layer.weights, rules.axes_of(layer), strict=False) if made is not None
    )


def _filters(graph: ChannelGraph, group: ChannelGroup, arrays: Mapping[str, tuple]) -> np.ndarray:
    """The weights that make each channel of a group, [C, D], zero where a layer makes it not.

    Args:
        arrays: producer to (array, axis of the channels made).
    """
    parts = []
    for name in group.producers:
        array, axis = arrays[name]
        rows = np.moveaxis(np.asarray(array), axis, 0)
        places = graph.places(group.name, graph.flows.producers[name])
        copies = [rows[places == channel].reshape(-1) for channel in range(group.size)]
        width = max(len(copy) for copy in copies)
        parts.append(np.stack([np.pad(copy, (0, width - len(copy))) for copy in copies]))
    return np.concatenate(parts, axis=1)


def _norm_scales(graph: ChannelGraph, group: ChannelGroup) -> np.ndarray:
    """Sum over the group's batch norms of the magnitude of their scales (Network Slimming, Liu et al., 2017)."""
    scores = np.zeros(group.size)
    for name in group.members:
        layer = graph.model.get_layer(name)
        if not isinstance(layer, keras.layers.BatchNormalization) or not layer.scale:
            continue
        gamma = np.abs(layer.gamma.numpy())
        places = graph.places(group.name, graph.flows.members[name][: len(gamma)])
        np.add.at(scores, places[places >= 0], gamma[places >= 0])
    return scores


def _gradients(
    model: keras.Model, variables: Mapping[str, keras.Variable], task: Task, batches: Iterable
) -> dict[str, np.ndarray]:
    """The mean gradient of the loss by each variable, in inference mode."""

    @tf.function
    def of(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = task.loss(labels, model(images, training=False))
        return tape.gradient(loss, list(variables.values()))

    found = [of(images, labels) for images, labels in batches]
    return {name: np.mean([g[k].numpy() for g in found], axis=0) for k, name in enumerate(variables)}
