"""Pictures that fit in memory: the shared `tf.data` pipeline of the small data sets."""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from secateur.utils.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Augment:
    """Random pad-crop and mirror.

    Attributes:
        pad: pixels of reflected border on each side before the crop, 0 or more.
        flip: whether half of the pictures are mirrored left to right.
    """

    pad: int = 0
    flip: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayDataset:
    """Train and test pictures as arrays.

    Attributes:
        name: the name used in reports, such as "CIFAR-10".
        labels: class names in label order.
        train_images, test_images: [N, H, W, C] uint8, 0 to 255; without augmentation of any shape and type.
        train_labels, test_labels: [N] int32, 0 to K-1.
        augment: what training does to a picture.
    """

    name: str
    labels: Sequence[str]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    augment: Augment = Augment()

    @property
    def nb_train(self) -> int:
        return len(self.train_images)

    @property
    def nb_test(self) -> int:
        return len(self.test_images)

    @property
    def sha256(self) -> str:
        """Checksum of all pictures and labels, so that a result names the data it was made on."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @property
    def identity(self) -> str:
        """What tells these pictures from others in the hash of a run: loaders give every version its name."""
        return self.name

    def hold_out(self, nb_held_out: int) -> "ArrayDataset":
        """The data set whose test pictures are the last `nb_held_out` training pictures.

        Choices are made on it, so that the real test pictures stay unseen.
        """
        if not 0 < nb_held_out < self.nb_train:
            raise UsageError(f"{nb_held_out} held-out pictures: must be 1 to {self.nb_train - 1} of {self.name}")
        cut = self.nb_train - nb_held_out
        return dataclasses.replace(
            self,
            name=f"{self.name}, held out",
            train_images=self.train_images[:cut],
            train_labels=self.train_labels[:cut],
            test_images=self.train_images[cut:],
            test_labels=self.train_labels[cut:],
        )

    def train_batches(
        self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1
    ) -> tf.data.Dataset:
        """Endless shuffled, augmented batches (images [B, H, W, C] float32, labels [B] int32).

        Batch number `first_step` is a pure function of (seed, epoch, record): a run that resumes sees the pictures
        it would have seen. The pictures left over in an epoch that does not divide are other ones each epoch.

        Args:
            batch_size: pictures of this worker per batch.
            seed: of the shuffling and the augmentation.
            first_step: how many batches to leave out at the start, without decoding them.
            rank, size: this worker and the number of workers; the global batch is `size * batch_size`.
        """
        per_epoch = self.nb_train // (batch_size * size)
        if per_epoch == 0:
            raise UsageError(
                f"batch size {batch_size} on {size} worker(s): {self.name} has only {self.nb_train} training pictures; "
                "choose a smaller --batch_size"
            )
        images, labels = tf.constant(self.train_images), tf.constant(self.train_labels)

        def rows_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            key = tf.stack([tf.cast(seed, tf.int64), epoch])
            order = tf.random.experimental.stateless_shuffle(tf.range(self.nb_train), key)
            rows = tf.reshape(order[: per_epoch * size * batch_size], [per_epoch, size, batch_size])[:, rank]
            transforms = tf.gather(self._transforms(key), rows)
            return tf.data.Dataset.from_tensor_slices((rows, transforms))

        def load(row: tf.Tensor, transforms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = tf.gather(images, row)
            batch = _transform(batch, transforms) if self.augment != Augment() else batch
            return tf.cast(batch, tf.float32), tf.gather(labels, row)

        first_epoch, skipped = divmod(first_step, per_epoch)
        batches = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(rows_of_epoch).skip(skipped)
        return batches.map(load, num_parallel_calls=2, deterministic=True).prefetch(2)

    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> tf.data.Dataset:
        """Test batches in order, (images [B, H, W, C] float32, labels [B] int32); the last one may be smaller."""
        arrays = (self.test_images[:nb_pictures], self.test_labels[:nb_pictures])
        batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
        return batches.map(lambda images, labels: (tf.cast(images, tf.float32), labels))

    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray:
        """The same `nb_pictures` unaugmented training pictures for a seed, [n, H, W, C] float32."""
        nb_pictures = min(nb_pictures, self.nb_train)
        rows = np.random.default_rng(seed).choice(self.nb_train, nb_pictures, replace=False)
        return self.train_images[rows].astype(np.float32)

    def _transforms(self, key: tf.Tensor) -> tf.Tensor:
        """One projective transform per record of the epoch, [N, 8]: a shift, for half of them also a mirror."""
        pad, width = self.augment.pad, self.train_images.shape[-2]
        shift = tf.random.stateless_uniform([self.nb_train, 2], key + [0, 1 << 32], -pad, pad + 1, tf.int32)
        chance = tf.random.stateless_uniform([self.nb_train], key + [0, 1 << 33])
        mirrored = tf.cast(tf.logical_and(self.augment.flip, chance < 0.5), tf.float32)
        shift_x, shift_y = tf.unstack(tf.cast(shift, tf.float32), axis=1)
        zero, one = tf.zeros_like(shift_x), tf.ones_like(shift_x)
        # (x, y) of the output reads (a0 x + a2, y + b2) of the input; a mirror reads (width - 1 - x).
        a0, a2 = 1 - 2 * mirrored, shift_x + mirrored * (width - 1)
        return tf.stack([a0, zero, a2, zero, one, shift_y, zero, zero], axis=1)


def _transform(images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Shift and mirror [B, H, W, C] pictures; what comes from outside is reflected at the border."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="REFLECT",
    )


def take(batches: tf.data.Dataset, nb_batches: int) -> list:
    """The first batches as a list, for the small sets that a calibration or a search keeps in memory."""
    return list(itertools.islice(batches, nb_batches))
