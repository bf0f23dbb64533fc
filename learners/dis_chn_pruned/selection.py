"""The channel-selection problem of one layer: its cached inputs, its loss, its kernel."""

from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.dis_chn_pruned import ops
from secateur.learners.dis_chn_pruned.layers import split_at

# A gradient of a few batches ranks the channels as well as one of the whole data set, at a thousandth of the price.
BATCHES_PER_PICK = 4


class SelectionProblem:
    """L = L_M + L_S^p of one layer (or of several that read the same channels), as a function of its kernel alone.

    What the kernel does not change is computed once: the tensors before it for `nb_batches` batches, and the original
    network's output at it. A step then runs only from the layer to the auxiliary loss.

    Args:
        model: float32 copy of the network being pruned; its outputs are [logits] or [logits, head]. It is used up.
        original: the network as it was before pruning.
        layers: names of the convolutions that read the channels.
        loss: (labels [B], logits [B, K]) to a scalar.
        batches: (images, labels) pairs kept for the selection.
        learning_rate: Adam's.
    """

    def __init__(
        self,
        model: keras.Model,
        original: keras.Model,
        layers: Sequence[str],
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        batches: Iterable[tuple[tf.Tensor, tf.Tensor]],
        learning_rate: float,
    ):
        prefix, self._tail = split_at(model, layers, model.outputs[-1])
        reference = keras.Model(original.input, [original.get_layer(name).output for name in layers])
        self._cache = _cache(prefix, reference, batches)
        self._kernels = [model.get_layer(name).kernel for name in layers]
        self._pretrained = [tf.identity(tf.convert_to_tensor(kernel)) for kernel in self._kernels]
        self._loss, self._next_batch = loss, 0
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._kernels)
        self._gradients_of = tf.function(self._gradients)
        self._tune_on = tf.function(self._tune)
        self.nb_channels = int(self._kernels[0].shape[2])

    def norms(self) -> np.ndarray:
        """||dL/dW_j||_F of every channel at the current kernel, [C]."""
        sums = None
        for _ in range(BATCHES_PER_PICK):
            gradients = self._gradients_of(*self._batch())
            sums = gradients if sums is None else [a + b for a, b in zip(sums, gradients, strict=True)]
        return ops.channel_norms([g / BATCHES_PER_PICK for g in sums]).numpy()

    def set_mask(self, mask_C: np.ndarray, added: int | None = None) -> None:
        """Zero what is masked; a channel that was just added starts from its pretrained weights."""
        for kernel, pretrained in zip(self._kernels, self._pretrained, strict=True):
            value = ops.masked(tf.convert_to_tensor(kernel), mask_C)
            if added is not None:
                only = np.eye(self.nb_channels, dtype=np.float32)[added]
                value = ops.masked(value, 1 - only) + ops.masked(pretrained, only)
            kernel.assign(value)

    def tune(self, mask_C: np.ndarray, nb_steps: int) -> float:
        """Adam steps on the selected part of the kernel; the last loss, NaN without a step."""
        value = float("nan")
        for _ in range(nb_steps):
            value = float(self._tune_on(tf.constant(mask_C, tf.float32), *self._batch()))
        return value

    def kernels(self) -> list[np.ndarray]:
        """The kernels, [K, K, C, F] each, in the order of the layers."""
        return [np.asarray(kernel.value) for kernel in self._kernels]

    def _batch(self) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
        batch = self._cache[self._next_batch]
        self._next_batch = (self._next_batch + 1) % len(self._cache)
        return batch

    def _objective(self, frontier: list[tf.Tensor], reference: list[tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        *features, logits = self._tail(frontier, training=False)
        reconstruction = [ops.reconstruction_loss(a, b) for a, b in zip(features, reference, strict=True)]
        return tf.add_n(reconstruction) + self._loss(labels, logits)

    def _gradients(self, frontier: list[tf.Tensor], reference: list[tf.Tensor], labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            objective = self._objective(frontier, reference, labels)
        return tape.gradient(objective, self._kernels)

    def _tune(
        self, mask_C: tf.Tensor, frontier: list[tf.Tensor], reference: list[tf.Tensor], labels: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            objective = self._objective(frontier, reference, labels)
        gradients = [ops.masked(g, mask_C) for g in tape.gradient(objective, self._kernels)]
        self._optimizer.apply(gradients, self._kernels)
        for kernel in self._kernels:
            kernel.assign(ops.masked(tf.convert_to_tensor(kernel), mask_C))
        return objective


def _cache(prefix: keras.Model, reference: keras.Model, batches: Iterable) -> list:
    """Per batch: the tensors that cross the cut, the original network's outputs there, the labels."""
    return [
        (_as_list(prefix(images, training=False)), _as_list(reference(images, training=False)), labels)
        for images, labels in batches
    ]


def _as_list(tensors: object) -> list[tf.Tensor]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def select_channels(
    problem: SelectionProblem, nb_kept: int, selection: str, nb_steps: int, progress: Callable[[int, float], None]
) -> list[int]:
    """Greedy selection of `nb_kept` input channels, the layer tuned after every pick (algorithm 2 of the paper).

    Args:
        selection: "add" (the paper and both released codes) begins with no channel and adds the one of largest
            gradient norm; "remove" (the original description) begins with all and removes the one of smallest.
        nb_steps: tuning steps in all.
        progress: called with (picks done, last loss).

    Returns:
        The kept channels, ascending.
    """
    adds = selection == "add"
    mask = np.full(problem.nb_channels, 0.0 if adds else 1.0, np.float32)
    nb_picks = nb_kept if adds else problem.nb_channels - nb_kept
    problem.set_mask(mask)
    for k in range(nb_picks):
        channel = ops.pick(problem.norms(), mask, selection)
        mask[channel] = 1.0 if adds else 0.0
        problem.set_mask(mask, added=channel if adds else None)
        value = problem.tune(mask, ops.steps_of_pick(nb_steps, nb_picks, k))
        progress(k + 1, value)
    return [int(c) for c in np.flatnonzero(mask)]
