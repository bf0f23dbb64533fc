"""A user's own `tf.data` pipelines or arrays as a data set."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from secateur.datasets.arrays import ArrayDataset
from secateur.utils.errors import UsageError

Arrays = tuple[np.ndarray, np.ndarray]


class _Part(NamedTuple):
    """Training or validation data.

    Attributes:
        singles: pictures [...] float32 with their labels, int32 scalars.
        counts: pictures of each class, [K].
        arrays: where they were given as such.
        identity: tells the data from others in the hash of a run.
    """

    singles: tf.data.Dataset
    counts: np.ndarray
    arrays: Arrays | None
    identity: str


class BatchedDataset:
    """Batches of (images [B, ...], labels [B]), as one would give them to `fit`.

    Arrays are shuffled by seed and epoch. A pipeline augments and shuffles by itself: unless it is deterministic, a
    resumed run sees other pictures than it would have seen. Runs tell arrays apart by their values, but pipelines only
    by `name`, shape and number of pictures of each class.

    Args:
        train, validation: `tf.data` pipelines of finite length, batched in any size, or pairs of arrays. Values 0 to
            255, or whatever the network takes; labels are class numbers.
        name: used in reports.
        labels: class names in label order; default: their numbers.

    Raises:
        UsageError: data that are empty, endless or not batched, or labels that are no class numbers.
    """

    def __init__(
        self,
        train: tf.data.Dataset | Arrays,
        validation: tf.data.Dataset | Arrays,
        name: str = "own data",
        labels: Sequence[str] | None = None,
    ):
        self.name = name
        self._train, self._validation = _part(train, "training"), _part(validation, "validation")
        self.nb_train, self.nb_test = int(self._train.counts.sum()), int(self._validation.counts.sum())
        self.labels = labels or [str(k) for k in range(len(self._train.counts))]
        shape = self._train.singles.element_spec[0].shape.as_list()
        self.identity = f"{name} {shape} {self._train.identity} {self._validation.identity}"
        self._arrays: ArrayDataset | None = None
        if self._train.arrays:
            nothing = [array[:0] for array in self._train.arrays]
            self._arrays = ArrayDataset(name, self.labels, *self._train.arrays, *(self._validation.arrays or nothing))

    @property
    def sha256(self) -> str:
        """Checksum of all arrays; pipelines have none."""
        return self._arrays.sha256 if self._arrays and self._validation.arrays else "unknown"

    def hold_out(self, nb_held_out: int) -> "BatchedDataset":
        """The data set whose validation pictures are `nb_held_out` training pictures, spread over all classes.

        Raises:
            UsageError: the training data are a pipeline, or have not so many pictures.
        """
        if self._arrays is None:
            raise UsageError(
                f"{self.name}: a tf.data pipeline may give its pictures in another order each time, so none can be "
                "held out: give arrays, or pictures that you held out as the validation data"
            )
        if not 0 < nb_held_out < self.nb_train:
            raise UsageError(f"{nb_held_out} held-out pictures: must be 1 to {self.nb_train - 1} of {self.name}")
        order = np.random.default_rng(0).permutation(self.nb_train)
        held, left = np.sort(order[:nb_held_out]), np.sort(order[nb_held_out:])
        images, labels = self._arrays.train_images, self._arrays.train_labels
        parts = (images[left], labels[left]), (images[held], labels[held])
        return BatchedDataset(*parts, f"{self.name}, held out", self.labels)

    def train_batches(
        self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1
    ) -> tf.data.Dataset:
        """Endless batches from number `first_step` on; what is left over at the end of an epoch is dropped.

        Raises:
            UsageError: a batch larger than the data, or a pipeline on several workers.
        """
        if self._arrays:
            return self._arrays.train_batches(batch_size, seed, first_step, rank, size)
        if size > 1:
            raise UsageError(
                f"{self.name}: a tf.data pipeline may give its pictures in another order on each of the {size} "
                "workers, which could not share them: give arrays, or run one worker"
            )
        if self.nb_train < batch_size:
            raise UsageError(
                f"batch size {batch_size} on 1 worker(s): {self.name} has only {self.nb_train} training pictures; "
                "choose a smaller --batch_size"
            )
        epoch = self._train.singles.batch(batch_size, drop_remainder=True)
        return epoch.repeat().skip(first_step % (self.nb_train // batch_size)).prefetch(2)

    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> tf.data.Dataset:
        """Validation batches in order; the last one may be smaller."""
        return self._validation.singles.take(-1 if nb_pictures is None else nb_pictures).batch(batch_size)

    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray:
        """Training pictures [n, ...] float32: of arrays the same ones for a seed, of a pipeline the first ones."""
        if self._arrays:
            return self._arrays.pictures(nb_pictures, seed)
        return np.stack([images.numpy() for images, _ in self._train.singles.take(nb_pictures)])


def _part(data: tf.data.Dataset | Arrays, name: str) -> _Part:
    arrays = None if isinstance(data, tf.data.Dataset) else _checked_arrays(data, name)
    singles = (_unbatched(data, name) if arrays is None else tf.data.Dataset.from_tensor_slices(arrays)).map(_cast)
    labels = np.array([int(label) for _, label in singles]) if arrays is None else arrays[1]
    if not len(labels):
        raise UsageError(f"the {name} data are empty: they must give batches of (images, labels)")
    if labels.min() < 0:
        raise UsageError(f"the {name} data have the label {labels.min()}: must be class numbers from 0 on")
    counts = np.bincount(labels)
    return _Part(singles, counts, arrays, str(counts.tolist()) if arrays is None else _digest(arrays))


def _cast(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(image, tf.float32), tf.reshape(tf.cast(label, tf.int32), [])


def _checked_arrays(data: Arrays, name: str) -> Arrays:
    images, labels = (np.asarray(array) for array in data)
    if len(images) != len(labels):
        raise UsageError(f"the {name} data have {len(images)} images and {len(labels)} labels: must be as many")
    _check_labels(labels.shape, name)
    return images if images.dtype == np.uint8 else images.astype(np.float32), labels.reshape(-1).astype(np.int32)


def _unbatched(data: tf.data.Dataset, name: str) -> tf.data.Dataset:
    if not (isinstance(data.element_spec, tuple) and len(data.element_spec) == 2):
        raise UsageError(f"the {name} pipeline gives {data.element_spec}: must give pairs (images, labels)")
    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UsageError(f"the {name} pipeline never ends: leave out its .repeat(), epochs are counted here")
    shape = data.element_spec[1].shape
    if shape.rank is not None:
        _check_labels(tuple(shape), name)
    return data.unbatch()


def _check_labels(shape: tuple, name: str) -> None:
    """Labels must be class numbers [B] or [B, 1]."""
    if not shape:
        raise UsageError(f"the {name} pipeline gives single pictures: must give batches, call its .batch(32)")
    if any(size != 1 for size in shape[1:]):
        raise UsageError(
            f"the {name} data have labels of the shape {shape}: must be one class number for each picture; "
            "argmax(axis=-1) makes numbers of one-hot labels"
        )


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
