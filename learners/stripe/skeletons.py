"""The filter skeletons of a network."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.stripe import ops
from secateur.learners.stripe.costs import inner_groups, other_kernels, stripe_layers
from secateur.pruning import ChannelGraph
from secateur.pruning.blocks import classifiers, is_plain, leads_through, projections
from secateur.pruning.gates import gated_kernels, reader_gates
from secateur.training.steps import Replaced


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
        others: what all other kernels cost.
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
        self.groups = inner_groups(graph, calls)
        self._gates = reader_gates(graph, self.groups) if self.groups else []
        self.layers = stripe_layers(graph, calls, self.groups)
        self.others = other_kernels(graph, self.layers, self.groups)

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

    def computed(self) -> dict[str, np.ndarray]:
        """The same, and none of layers that have nothing left to read."""
        return ops.computed(self.live(), self.layers)

    def macs(self) -> int:
        """The method's count of the whole network now."""
        return ops.method_macs(self.values(), self.layers, self.others)

    def least_macs(self) -> int:
        """The same if all died that may die."""
        return ops.method_macs(self.values(), self.layers, self.others, np.inf)

    def dead_ends(self) -> list[str]:
        """Layers without a live stripe, where they leave no way from the input to an output; else none."""
        dead = [name for name, value in self.values().items() if not value.any()]
        return [] if leads_through(self._record, dead) else dead

    def narrow(self, widths: Mapping[str, int]) -> None:
        """Kill filters of the named layers, the shortest ones by their weights, until so many live."""
        for name, width in widths.items():
            skeleton = self.of[name]
            lengths = np.linalg.norm(self._model.get_layer(name).kernel.numpy() * skeleton.numpy()[:, :, None], axis=2)
            longest = np.argsort(-np.linalg.norm(lengths, axis=(0, 1)), kind="stable")[:width]
            skeleton.assign(skeleton.numpy() * np.isin(np.arange(skeleton.shape[-1]), longest))

    def remove_down_to(self, budget: float, least: float = 0.0) -> None:
        """Kill the stripes of smallest |FS| until the method's count is within a budget.

        The strongest one of a layer that nothing leads around stays; that of every layer, where layers that leave would
        take so many others with them that less than `least` were left, and the budget has room for it.
        """
        values, layers = self.values(), self.layers
        threshold = ops.threshold_for(budget, values, layers, self.others)
        if ops.method_macs(values, layers, self.others, threshold) < least:
            keeping = {name: layer._replace(keeps_one=True) for name, layer in layers.items()}
            if ops.method_macs(values, keeping, self.others, np.inf) <= budget:
                layers, threshold = keeping, ops.threshold_for(budget, values, keeping, self.others)
        for name, layer in layers.items():
            self.of[name].assign(values[name] * ops.above(values[name], threshold, layer.keeps_one))
