"""A user's own `tf.data` pipelines as a data set."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from secateur.utils.errors import UsageError

Arrays = tuple[np.ndarray, np.ndarray]


class BatchedDataset:
    """Batches of (images [B, H, W, C], labels [B]), as one would give them to `fit`.

    Augmentation and shuffling are the pipeline's own: unless it is deterministic, a resumed run sees other pictures
    than it would have seen.

    Args:
        train, validation: `tf.data` pipelines of finite length, batched in any size, or pairs of arrays. Values 0 to
            255, or whatever the network takes.
        name: used in reports.
        labels: class names in label order; default: their numbers.
    """

    sha256 = "unknown"

    def __init__(
        self,
        train: tf.data.Dataset | Arrays,
        validation: tf.data.Dataset | Arrays,
        name: str = "own data",
        labels: Sequence[str] | None = None,
    ):
        self.name = name
        self._train, self._validation = _pictures(train), _pictures(validation)
        counts = [_count(self._train, "training"), _count(self._validation, "validation")]
        self.nb_train, self.nb_test = [int(count.sum()) for count in counts]
        self.labels = labels or [str(k) for k in range(len(counts[0]))]
        # In the hash of a run. Not the pictures themselves: an augmenting pipeline gives others every time.
        shape = self._train.element_spec[0].shape.as_list()
        self.identity = f"{name} {shape} {[count.tolist() for count in counts]}"

    def hold_out(self, nb_held_out: int) -> "BatchedDataset":
        """The data set whose validation pictures are the first `nb_held_out` training pictures."""
        held_out, rest = self._train.take(nb_held_out), self._train.skip(nb_held_out)
        return BatchedDataset(rest.batch(1), held_out.batch(1), f"{self.name}, held out", self.labels)

    def train_batches(
        self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1
    ) -> tf.data.Dataset:
        """Endless batches from number `first_step` on; what is left over at the end of an epoch is dropped."""
        if self.nb_train < batch_size * size:
            raise UsageError(
                f"batch size {batch_size} on {size} worker(s): {self.name} has only {self.nb_train} training pictures"
            )
        epoch = self._train.batch(batch_size * size, drop_remainder=True)
        own = epoch.map(lambda images, labels: (images[rank::size], labels[rank::size]))
        per_epoch = self.nb_train // (batch_size * size)
        return own.repeat().skip(first_step % per_epoch).prefetch(2)

    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> tf.data.Dataset:
        """Validation batches in order; the last one may be smaller."""
        return self._validation.take(-1 if nb_pictures is None else nb_pictures).batch(batch_size)

    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray:
        """The first training pictures, [n, H, W, C] float32."""
        return np.stack([images.numpy() for images, _ in self._train.take(nb_pictures)])


def _pictures(data: tf.data.Dataset | Arrays) -> tf.data.Dataset:
    """Single pictures [H, W, C] float32 with their labels, int32 scalars."""
    singles = data.unbatch() if isinstance(data, tf.data.Dataset) else tf.data.Dataset.from_tensor_slices(tuple(data))
    return singles.map(lambda image, label: (tf.cast(image, tf.float32), tf.reshape(tf.cast(label, tf.int32), [])))


def _count(singles: tf.data.Dataset, name: str) -> np.ndarray:
    """Pictures of each class, [K]."""
    labels = [int(label) for _, label in singles]
    if not labels:
        raise UsageError(f"the {name} data are empty: they must give batches of (images, labels)")
    return np.bincount(labels)
