"""The filter skeletons of a network, and the step that trains them with the weights."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.stripe import ops
from secateur.pruning import ChannelGraph
from secateur.pruning.blocks import projections
from secateur.training.distillation import DistillationLoss
from secateur.training.steps import (
    Replaced,
    Step,
    apply_gradients,
    batch_accuracy,
    forward,
    moving_statistics,
    own_losses,
)


class Skeletons:
    """A skeleton for every plain convolution; those of projections are trained, but none of their stripes dies.

    Args:
        graph: of the dense network.
        model: the network that is trained, of the same layer names.
        from_norms: begin with the lengths of the kernels' stripes and divide the kernels by them, which leaves the
            function as it is; else with ones.

    Attributes:
        of: layer to its variable [K, K, O].
        layers: what their stripes cost, for the layers whose stripes may die.
        norms: layer to the batch norm behind it that its dead filters silence.
    """

    def __init__(self, graph: ChannelGraph, model: keras.Model, from_norms: bool):
        self._model = model
        calls = {call.layer.name: call for call in graph.record.calls}
        exempt = set(projections(graph.record))
        names = [
            name for name in calls if type(calls[name].layer) is keras.layers.Conv2D and calls[name].layer.groups == 1
        ]
        self.of: dict[str, keras.Variable] = {}
        for name in names:
            kernel = model.get_layer(name).kernel
            value = (
                ops.initial_skeleton(kernel.numpy()) if from_norms else np.ones((*kernel.shape[:2], kernel.shape[3]))
            )
            kernel.assign(kernel.numpy() / value[:, :, None, :])
            self.of[name] = keras.Variable(value, dtype="float32", name=f"{name}_skeleton")
        self.norms, sources = _silenced(graph, names)
        self.layers = {
            name: ops.StripeLayer(
                int(np.prod(calls[name].outputs[0].shape[1:-1])),
                calls[name].layer.kernel.shape[2],
                sources.get(name, ""),
            )
            for name in names
            if name not in exempt
        }

    @property
    def variables(self) -> list[keras.Variable]:
        return list(self.of.values())

    def replaced(self) -> Replaced:
        """What stands for each kernel in a forward pass: kernel times skeleton."""
        return [
            (
                self._model.get_layer(name).kernel,
                ops.scaled_kernel(self._model.get_layer(name).kernel.value, skeleton.value),
            )
            for name, skeleton in self.of.items()
        ]

    def values(self) -> dict[str, np.ndarray]:
        """The skeletons of the layers whose stripes may die."""
        return {name: self.of[name].numpy() for name in self.layers}

    def macs(self) -> int:
        """The method's count now."""
        return ops.method_macs(self.values(), self.layers)

    def remove_up_to(self, threshold: float) -> None:
        """Kill all stripes of |FS| up to a threshold."""
        for name in self.layers:
            self.of[name].assign(ops.thresholded(self.of[name].value, tf.constant(threshold, tf.float32)))

    def silence(self) -> None:
        """Set scale and offset of the norms' channels to 0 where no stripe of the filter lives; inside a step."""
        for name, norm in self.norms.items():
            living = tf.reduce_max(ops.alive(self.of[name].value), axis=(0, 1))
            for weight in (self._model.get_layer(norm).gamma, self._model.get_layer(norm).beta):
                weight.assign(weight * living)


def _silenced(graph: ChannelGraph, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The norm behind each convolution that alone makes an inner channel group, and the maker that a layer reads."""
    readers = {id(t): call.layer for call in graph.record.calls for t in call.inputs}
    norms, sources = {}, {}
    for call in graph.record.calls:
        name, behind = call.layer.name, readers.get(id(call.outputs[0]))
        group = graph.groups.get(name)
        if name not in names or group is None or group.passes_add or not group.prunable or group.producers != (name,):
            continue
        if isinstance(behind, keras.layers.BatchNormalization) and behind.center and behind.scale:
            norms[name] = behind.name
            whole = [reader for reader in group.consumers if (graph.positions(name, reader) >= 0).all()]
            sources |= dict.fromkeys(set(whole) & set(names), name)
    return norms, sources


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
    moving, prunable = moving_statistics(model), set(skeletons.layers)
    variables = [*trained, *skeletons.variables]
    optimizer.build(variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = forward(model, images, skeletons.replaced())
            data_loss = loss(labels, logits)
            soft = distillation(images, logits) if distillation else 0.0
            decay = weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in variables])
            objective = optimizer.scale_loss(data_loss + soft + own_losses(model) + decay)
        gradients = tape.gradient(objective, variables)
        scaled = strength.value * optimizer.scale_loss(1.0)
        for k, name in enumerate(skeletons.of, start=len(trained)):
            if name in prunable:
                gradients[k] = ops.skeleton_gradient(gradients[k], skeletons.of[name].value, scaled)
        before = {name: ops.alive(skeletons.of[name].value) for name in prunable}
        apply_gradients(optimizer, gradients, variables, moving)
        for name in skeletons.layers:
            skeletons.of[name].assign(ops.thresholded(skeletons.of[name].value * before[name], threshold))
        skeletons.silence()
        return {"loss": data_loss, "accuracy": batch_accuracy(labels, logits)}

    return step
