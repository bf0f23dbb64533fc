"""The channel-selection problem of one group: cached inputs of the layers that read it, their loss, their kernels."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.dis_chn_pruned import ops
from secateur.learners.dis_chn_pruned.layers import split_at
from secateur.training.steps import apply_alone

# A gradient of a few batches ranks the channels as well as one of the whole data set, at a thousandth of the price.
BATCHES_PER_PICK = 4
# The adaptive stop compares losses of neighbouring picks: always the same batches, so that noise cancels.
BATCHES_PER_LOSS = 8
# What is kept of large pictures: VGG16's first group at 224 pixels would need 66 GB for the default number of them.
CACHE_BYTES = 2 << 30
# (reconstruction, discrimination)
LOSS_WEIGHTS = {"both": (1.0, 1.0), "reconstruction": (1.0, 0.0), "discrimination": (0.0, 1.0)}


@dataclasses.dataclass(frozen=True)
class Search:
    """How channels are chosen.

    Attributes:
        selection: "add" (the paper and both released codes) begins with no channel and adds the one of largest
            gradient norm; "remove" (the original description) begins with all and removes the one of smallest;
            "random" adds in random order.
        nb_steps: tuning steps in all.
        adaptive_eps: stop adding when one more channel changes the loss by less than this share of the first loss.
        multiple: the adaptive stop waits until the number of channels is a multiple of this.
        seed: of the random order.
    """

    selection: str
    nb_steps: int
    adaptive_eps: float | None = None
    multiple: int = 1
    seed: int = 0


class SelectionProblem:
    """L = L_M + L_S^p of the layers that read one group of channels, as a function of their kernels alone.

    What the kernels do not change is computed once: the tensors before them for all batches, and the original
    network's output at them. A step then runs only from the first of the layers to the auxiliary loss.

    Args:
        model: float32 copy of the network being pruned; its outputs are [logits] or [logits, head]. It is used up.
        reference: pictures to what the original network makes at the readers, in their order.
        readers: layer to the channel of each of its input positions, -1 where it is not of the group.
        loss: (labels [B], logits [B, K]) to a scalar.
        batches: (images, labels) pairs; as many are kept for the selection as `CACHE_BYTES` allows, at least 8.
        learning_rate: Adam's.
        terms: which losses count, a key of `LOSS_WEIGHTS`.
    """

    def __init__(
        self,
        model: keras.Model,
        reference: keras.Model,
        readers: Mapping[str, np.ndarray],
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        batches: Iterable[tuple[tf.Tensor, tf.Tensor]],
        learning_rate: float,
        terms: str = "both",
    ):
        prefix, self._tail = split_at(model, list(readers), model.outputs[-1])
        self._cache = _cache(prefix, reference, batches)
        self._kernels = [model.get_layer(name).kernel for name in readers]
        self._channels = [tf.constant(channels, tf.int32) for channels in readers.values()]
        self._pretrained = [tf.identity(tf.convert_to_tensor(kernel)) for kernel in self._kernels]
        self._loss, self._weights, self._next_batch = loss, LOSS_WEIGHTS[terms], 0
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._kernels)
        self._objective_of = tf.function(self._objective)
        self._gradients_of = tf.function(self._gradients)
        self._tune_on = tf.function(self._tune)
        self.nb_channels = 1 + max(int(channels.max()) for channels in readers.values())

    @property
    def nb_batches(self) -> int:
        return len(self._cache)

    def norms(self) -> np.ndarray:
        """||dL/dW_j||_F of every channel at the current kernels, [C]."""
        sums = None
        for _ in range(BATCHES_PER_PICK):
            gradients = self._gradients_of(*self._batch())
            sums = gradients if sums is None else [a + b for a, b in zip(sums, gradients, strict=True)]
        mean = [g / BATCHES_PER_PICK for g in sums]
        return ops.channel_norms(mean, self._channels, self.nb_channels).numpy()

    def objective(self) -> float:
        """L at the current kernels, the mean over a fixed few batches."""
        return float(np.mean([float(self._objective_of(*batch)) for batch in self._cache[:BATCHES_PER_LOSS]]))

    def set_mask(self, mask_C: np.ndarray, added: Sequence[int] = ()) -> None:
        """Zero what is masked; channels that were just added start from their pretrained weights."""
        for kernel, pretrained, channels in zip(self._kernels, self._pretrained, self._channels, strict=True):
            value = ops.masked(tf.convert_to_tensor(kernel), mask_C, channels)
            if added:
                is_added = tf.reduce_any(channels[:, None] == tf.constant(added, tf.int32), axis=1)
                value = tf.where(is_added[:, None], pretrained, value)
            kernel.assign(value)

    def tune(self, mask_C: np.ndarray, nb_steps: int) -> float:
        """Adam steps on the selected part of the kernels; the last loss, NaN without a step."""
        value = float("nan")
        for _ in range(nb_steps):
            value = float(self._tune_on(tf.constant(mask_C, tf.float32), *self._batch()))
        return value

    def kernels(self) -> list[np.ndarray]:
        """The kernels, in the order of the readers."""
        return [np.asarray(kernel.value) for kernel in self._kernels]

    def _batch(self) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
        batch = self._cache[self._next_batch]
        self._next_batch = (self._next_batch + 1) % len(self._cache)
        return batch

    def _objective(self, frontier: list[tf.Tensor], reference: list[tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        *features, logits = self._tail(frontier, training=False)
        reconstruction = [ops.reconstruction_loss(a, b) for a, b in zip(features, reference, strict=True)]
        of_reconstruction, of_discrimination = self._weights
        return of_reconstruction * tf.add_n(reconstruction) + of_discrimination * self._loss(labels, logits)

    def _gradients(self, frontier: list[tf.Tensor], reference: list[tf.Tensor], labels: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            objective = self._objective(frontier, reference, labels)
        return tape.gradient(objective, self._kernels)

    def _tune(
        self, mask_C: tf.Tensor, frontier: list[tf.Tensor], reference: list[tf.Tensor], labels: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            objective = self._objective(frontier, reference, labels)
        gradients = tape.gradient(objective, self._kernels)
        masked = [ops.masked(g, mask_C, channels) for g, channels in zip(gradients, self._channels, strict=True)]
        apply_alone(self._optimizer, masked, self._kernels)
        for kernel, channels in zip(self._kernels, self._channels, strict=True):
            kernel.assign(ops.masked(tf.convert_to_tensor(kernel), mask_C, channels))
        return objective


def _cache(prefix: keras.Model, reference: keras.Model, batches: Iterable) -> list:
    """Per batch: the tensors that cross the cut, the original network's outputs there, the labels; to `CACHE_BYTES`."""
    cached: list = []
    nb_bytes = 0
    for images, labels in batches:
        before, after = _as_list(prefix(images, training=False)), _as_list(reference(images, training=False))
        cached.append((before, after, labels))
        nb_bytes += sum(math.prod(tensor.shape) * tensor.dtype.size for tensor in (*before, *after))
        if nb_bytes > CACHE_BYTES and len(cached) >= BATCHES_PER_LOSS:
            break
    return cached


def _as_list(tensors: object) -> list[tf.Tensor]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def select_channels(
    problem: SelectionProblem, nb_kept: int, search: Search, progress: Callable[[int, float], None]
) -> list[int]:
    """Greedy selection of `nb_kept` channels, the layers tuned after every pick (algorithm 2 of the paper).

    With an adaptive stop `nb_kept` is the most that may stay. Differs from the paper: where there are fewer steps of
    tuning than channels to pick, several are picked at a time, so that each gradient is one of tuned layers.

    Args:
        progress: called with (channels picked, last loss; NaN where no step of tuning was made).

    Returns:
        The kept channels, ascending.
    """
    adds = search.selection != "remove"
    mask = np.full(problem.nb_channels, 0.0 if adds else 1.0, np.float32)
    nb_picks = nb_kept if adds else problem.nb_channels - nb_kept
    order = np.random.default_rng(search.seed).permutation(problem.nb_channels).astype(np.float32)
    problem.set_mask(mask)
    losses = [problem.objective()] if search.adaptive_eps else []
    one_by_one = search.adaptive_eps is not None or search.nb_steps == 0
    nb_rounds = nb_picks if one_by_one else min(nb_picks, search.nb_steps)
    for k in range(nb_rounds):
        norms = order if search.selection == "random" else problem.norms()
        channels = ops.picks(norms, mask, "add" if adds else "remove", ops.share_of_round(nb_picks, nb_rounds, k))
        mask[channels] = 1.0 if adds else 0.0
        problem.set_mask(mask, added=channels if adds else ())
        value = problem.tune(mask, ops.share_of_round(search.nb_steps, nb_rounds, k))
        progress((k + 1) * nb_picks // nb_rounds, value)
        if search.adaptive_eps and (k + 1) % search.multiple == 0:
            losses.append(problem.objective())
            if ops.gains_little(losses[-2], losses[-1], losses[0], search.adaptive_eps):
                break
    return [int(c) for c in np.flatnonzero(mask)]
