"""The filter skeletons of a network, and the step that trains them with the weights."""

from collections import Counter
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.stripe import ops
from secateur.pruning import ChannelGraph
from secateur.pruning.blocks import calls_of, classifiers, dispensable, is_plain, leads_through, projections
from secateur.pruning.calls import Call
from secateur.pruning.gates import gated_kernels, reader_gates
from secateur.training.distillation import DistillationLoss
from secateur.training.steps import Replaced, Step, apply_gradients, moving_statistics, train_step


class Skeletons:
    """A skeleton for every plain convolution; in projections and classifiers none of the stripes dies.

    Args:
        graph: of the dense network.
        model: the network that is trained, of the same layer names.
        from_norms: begin with the lengths of the kernels' stripes and divide the kernels by them, which leaves the
            function as it is; else with ones.

    Attributes:
        of: layer to its variable [K, K, O].
        layers: what their stripes cost, for the layers whose stripes may die.
        groups: layers whose dead filters nothing reads. Differs from the released code, which sets scale and offset of
            the norm behind them to 0: behind a depthwise convolution and its own norm they would be read again.
    """

    def __init__(self, graph: ChannelGraph, model: keras.Model, from_norms: bool):
        self._model, self._record = model, graph.record
        calls = [call for call in graph.record.calls if is_plain(call.layer)]
        names = list(dict.fromkeys(call.layer.name for call in calls))
        self.of: dict[str, keras.Variable] = {}
        for name in names:
            kernel = model.get_layer(name).kernel
            value = (
                ops.initial_skeleton(kernel.numpy()) if from_norms else np.ones((*kernel.shape[:2], kernel.shape[3]))
            )
            kernel.assign(kernel.numpy() / value[:, :, None, :])
            self.of[name] = keras.Variable(value, dtype="float32", name=f"{name}_skeleton")
        exempt = {*projections(graph.record), *classifiers(graph.record)}
        calls = [call for call in calls if call.layer.name not in exempt]
        self.groups = _inner_groups(graph, calls)
        self._gates = reader_gates(graph, self.groups) if self.groups else []
        self.layers = _stripe_layers(graph, calls, self.groups)

    @property
    def variables(self) -> list[keras.Variable]:
        return list(self.of.values())

    def kernels(self) -> dict[str, tf.Tensor]:
        """What stands for each kernel: kernel times skeleton, and zeros where it reads dead filters."""
        found = {name: self._model.get_layer(name).kernel.value for name in self.of}
        if self._gates:
            gated = gated_kernels(self._model, self._gates, self._living())
            found |= {gate.layer: value for gate, (_, value) in zip(self._gates, gated, strict=True)}
        return {
            name: ops.scaled_kernel(value, self.of[name].value) if name in self.of else value
            for name, value in found.items()
        }

    def replaced(self) -> Replaced:
        """The same for a forward pass."""
        return [(self._model.get_layer(name).weights[0], value) for name, value in self.kernels().items()]

    def _living(self) -> tf.Tensor:
        """1 for each filter with a live stripe, [G, C] for the layers of the groups."""
        rows = [tf.reduce_max(ops.alive(self.of[name].value), axis=(0, 1)) for name in self.groups]
        width = max(row.shape[0] for row in rows)
        return tf.stack([tf.pad(row, [[0, width - row.shape[0]]]) for row in rows])

    def values(self) -> dict[str, np.ndarray]:
        """The skeletons of the layers whose stripes may die."""
        return {name: self.of[name].numpy() for name in self.layers}

    def live(self) -> dict[str, np.ndarray]:
        """The stripes [K, K, O] that live of the same layers; none of layers that leave with those that read them."""
        return ops.live_stripes(self.values(), self.layers)

    def macs(self) -> int:
        """The method's count now."""
        return ops.method_macs(self.values(), self.layers)

    def least_macs(self) -> int:
        """The method's count if all died that may die."""
        return ops.method_macs(self.values(), self.layers, np.inf)

    def dead_ends(self) -> list[str]:
        """Layers without a live stripe, where they leave no way from the input to an output; else none."""
        dead = [name for name, value in self.values().items() if not value.any()]
        return [] if leads_through(self._record, dead) else dead

    def remove_up_to(self, threshold: float) -> None:
        """Kill all stripes of |FS| up to a threshold, but the strongest one of a layer that nothing leads around."""
        for name, layer in self.layers.items():
            value = self.of[name].numpy()
            self.of[name].assign(value * ops.above(value, threshold, layer.keeps_one))


def _inner_groups(graph: ChannelGraph, calls: Sequence[Call]) -> list[str]:
    """The prunable channel groups that one convolution alone makes, a channel with each filter, by its name."""
    alone = {name: group for name, group in graph.groups.items() if group.prunable and not group.passes_add}
    filters = {call.layer.name: call.layer.filters for call in calls}
    return [name for name, group in alone.items() if group.producers == (name,) and group.size == filters.get(name)]


def _stripe_layers(graph: ChannelGraph, calls: Sequence[Call], groups: Sequence[str]) -> dict[str, ops.StripeLayer]:
    """What the stripes of each layer cost, in the network's order."""
    names = list(dict.fromkeys(call.layer.name for call in calls))
    may_go, counts = dispensable(graph.record, names), calls_of(graph.record)
    areas: Counter[str] = Counter()
    for call in calls:
        areas[call.layer.name] += int(np.prod(call.outputs[0].shape[1:-1]))
    sources, readers = {}, {}
    for name in groups:
        consumers = graph.groups[name].consumers
        sources |= {reader: name for reader in consumers if (graph.positions(name, reader) >= 0).all()}
        known = all(reader in areas and counts[reader] == 1 for reader in consumers)
        readers[name] = tuple(consumers) if known and graph.removable(name) else ()
    return {
        name: ops.StripeLayer(
            areas[name],
            graph.model.get_layer(name).kernel.shape[2],
            sources.get(name, ""),
            readers.get(name, ()),
            name not in may_go,
        )
        for name in names
    }


def stripe_step(
    model: keras.Model,
    skeletons: Skeletons,
    trained: Sequence[keras.Variable],
    optimizer: keras.optimizers.Optimizer,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    weight_decay: float,
    strength: keras.Variable,
    threshold: float,
    distillation: DistillationLoss | None = None,
) -> Step:
    """A step on weights and skeletons: (images [B, H, W, C], labels [B]) to metrics.

    Weight decay is coupled and acts on everything that is trained, skeletons and norms too: it, more than the L1 norm,
    brings stripes to the threshold. Differs from the paper: a dead stripe stays dead, where the momentum of the
    released code may move it for a step.

    Args:
        trained: weights that are trained besides the skeletons.
        strength: of the L1 norm, a variable that a callback may change.
        threshold: stripes that are not larger die in every step.
    """
    variables, moving = [*trained, *skeletons.variables], moving_statistics(model)
    optimizer.build(variables)

    def update(gradients: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        scaled = strength.value * optimizer.scale_loss(1.0)
        for k, name in enumerate(skeletons.of, start=len(trained)):
            if name in skeletons.layers:
                gradients[k] = ops.skeleton_gradient(gradients[k], skeletons.of[name].value, scaled)
        before = {name: ops.alive(skeletons.of[name].value) for name in skeletons.layers}
        apply_gradients(optimizer, gradients, variables, moving)
        for name in skeletons.layers:
            skeletons.of[name].assign(ops.thresholded(skeletons.of[name].value * before[name], threshold))
        return {}

    return train_step(
        model,
        optimizer,
        loss,
        weight_decay,
        distillation,
        replaced=skeletons.replaced,
        trained=variables,
        decayed=variables,
        update=update,
    )
