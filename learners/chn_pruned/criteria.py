"""The criteria applied to a network: one score for each channel of each group."""

from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.chn_pruned import ops
from secateur.pruning import ChannelGraph, ChannelGroup, rules
from secateur.training.task import Task
from secateur.utils.errors import UsageError

FUNCTIONS = {"l1": ops.l1_norms, "l2": ops.l2_norms, "fpgm": ops.distances_to_others}


def scores_of(
    criterion: str, graph: ChannelGraph, groups: Sequence[ChannelGroup], task: Task, batches: Iterable, seed: int
) -> dict[str, np.ndarray]:
    """Group to the importance of its channels, [C].

    Args:
        criterion: a name that `--chn_criterion` takes.
        batches: (images, labels), read by the criterion "taylor" alone.
        seed: of the criterion "random".

    Raises:
        UsageError: the criterion "bn", and channels that no batch norm scales.
    """
    if criterion == "random":
        generator = np.random.default_rng(seed)
        return {group.name: generator.random(group.size) for group in groups}
    if criterion == "bn":
        return {group.name: _norm_scales(graph, group) for group in groups}
    if criterion == "taylor":
        variables = {id(v): v for group in groups for v, _, _ in _switches(graph, group)}
        gradients = _gradients(graph.model, list(variables.values()), task, batches)
        return {group.name: _taylor(graph, group, gradients) for group in groups}
    kernels = {name: _kernel(graph.model.get_layer(name)) for group in groups for name in group.producers}
    return {group.name: FUNCTIONS[criterion](_filters(graph, group, kernels)) for group in groups}


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
    scores, scaled = np.zeros(group.size), np.zeros(group.size, bool)
    for norm in norms_of(graph, group):
        gamma, places = np.abs(norm.gamma.numpy()), _places(graph, group, norm)
        np.add.at(scores, places[places >= 0], gamma[places >= 0])
        scaled[places[places >= 0]] = True
    if not scaled.all():
        raise UsageError(
            f"--chn_criterion bn: {np.sum(~scaled)} of the {group.size} channels of {group.name} have no batch norm "
            "with a scale: choose another criterion, or protect them with --skip_layers"
        )
    return scores


def norms_of(graph: ChannelGraph, group: ChannelGroup) -> list[keras.layers.BatchNormalization]:
    """The group's batch norms that have a scale."""
    layers = (graph.model.get_layer(name) for name in group.members)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.scale]


def _places(graph: ChannelGraph, group: ChannelGroup, norm: keras.layers.BatchNormalization) -> np.ndarray:
    """The group's channel at each place of a norm's weights, -1 for none."""
    return graph.places(group.name, graph.flows.members[norm.name][: norm.gamma.shape[0]])


def _taylor(graph: ChannelGraph, group: ChannelGroup, gradients: Sequence[Mapping[int, np.ndarray]]) -> np.ndarray:
    """The importance of the group's channels by the gradients of each batch."""
    changes = np.zeros((len(gradients), group.size))
    for variable, axis, places in _switches(graph, group):
        rows = [
            np.moveaxis(np.asarray(array), axis, 0) for array in (variable.value, *(g[id(variable)] for g in gradients))
        ]
        weights, *found = (array.reshape(len(array), -1) for array in rows)
        own = places >= 0
        for k, gradient in enumerate(found):
            np.add.at(changes[k], places[own], ops.first_order_change(weights, gradient)[own])
    return ops.taylor_importance(changes)


def _switches(graph: ChannelGraph, group: ChannelGroup) -> list[tuple[keras.Variable, int, np.ndarray]]:
    """What a channel is switched off by: variable, axis of the channels, channel of each place (-1: none).

    Scale and offset of the group's norms, behind which the channel is zero; the filters that make it where it has none.
    """
    norms = [norm for norm in norms_of(graph, group) if norm.center]
    if norms:
        return [(v, 0, _places(graph, group, norm)) for norm in norms for v in (norm.gamma, norm.beta)]
    places = {name: graph.places(group.name, graph.flows.producers[name]) for name in group.producers}
    return [(*_kernel(graph.model.get_layer(name)), places[name]) for name in group.producers]


def _gradients(
    model: keras.Model, variables: Sequence[keras.Variable], task: Task, batches: Iterable
) -> list[dict[int, np.ndarray]]:
    """For each batch the gradient of the loss by each variable, by its identity; in inference mode."""

    @tf.function
    def of(images: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = task.loss(labels, model(images, training=False))
        return tape.gradient(loss, list(variables), unconnected_gradients="zero")

    found = (of(images, labels) for images, labels in batches)
    return [{id(v): g.numpy() for v, g in zip(variables, gradients, strict=True)} for gradients in found]
