"""Pictures in TFRecord shards, decoded when they are needed.

A record holds `image/encoded` (a picture file), `image/class/label` (1 to 1000, as the shards of ILSVRC-12 that others
made have it) and `image/filename`. Labels come out as 0 to 999: there is no background class.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from secateur.datasets.crops import centre_crop, random_crop
from secateur.datasets.damage import Damage
from secateur.utils.errors import RunError, UsageError

FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    "image/filename": tf.io.FixedLenFeature([], tf.string, ""),
}
SHUFFLE_BUFFER, CYCLE_LENGTH = 4096, 16


@dataclasses.dataclass(frozen=True, eq=False)
class RecordDataset:
    """Pictures in TFRecord shards, decoded when they are needed.

    Attributes:
        name: used in reports.
        labels: class names in label order.
        train_shards, test_shards: paths.
        nb_train, nb_test: records.
        image_size: height and width of the pictures that come out.
        sha256: of the names, counts and sizes of all shards.
        damage: names of pictures and shards that were broken and left out; too many are an error.
    """

    name: str
    labels: Sequence[str]
    train_shards: Sequence[str]
    test_shards: Sequence[str]
    nb_train: int
    nb_test: int
    image_size: int
    sha256: str
    damage: Damage = dataclasses.field(default_factory=Damage)

    @property
    def identity(self) -> str:
        """What tells these pictures from others in the hash of a run."""
        return f"{self.name} {self.image_size} {self.sha256}"

    def train_batches(
        self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1
    ) -> "_Watched":
        """Endless shuffled batches of random crops, (images [B, S, S, 3] float32, labels [B] int32).

        A pure function of (seed, epoch, place in the epoch): all workers read the same order, each takes its records of
        it, and what comes before `first_step` is not decoded. A batch is smaller by its broken pictures, and records
        that a truncated shard lacks are replaced by others of the epoch, so that places stay what they are.
        """
        per_epoch = self.nb_train // (batch_size * size)
        if per_epoch == 0:
            raise UsageError(
                f"batch size {batch_size} on {size} worker(s): {self.name} has only {self.nb_train} training pictures; "
                "choose a smaller --batch_size"
            )
        shards = tf.constant(list(self.train_shards))

        def records_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            # Of the graph that is traced here alone. Without it the program's own seed would come in, and one of 0
            # beside a tensor is an error in `shuffle` (TensorFlow 2.21).
            tf.random.set_seed(1)
            key = tf.stack([tf.cast(seed, tf.int64), epoch])
            order = tf.random.experimental.stateless_shuffle(shards, key)
            records = self._records(tf.data.Dataset.from_tensor_slices(order))
            shuffled = records.shuffle(SHUFFLE_BUFFER, seed=key[0] + (1 << 32) * epoch, reshuffle_each_iteration=False)
            mine = shuffled.repeat().take(per_epoch * size * batch_size).shard(size, rank)
            return mine.enumerate().map(lambda index, record: (tf.stack([key[0] + (1 << 32) * epoch, index]), record))

        def crop(contents: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
            return random_crop(contents, self.image_size, key + rank)

        first_epoch, skipped = divmod(first_step, per_epoch)
        records = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(records_of_epoch)
        return self._batches(records.skip(skipped * batch_size), batch_size, crop)

    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> "_Watched":
        """Centre crops of the validation pictures in order; the last batch may be smaller."""
        return self._centre_crops(self.test_shards, nb_pictures, batch_size)

    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray:
        """Centre crops of training pictures, spread over the shards, [n, S, S, 3] float32."""
        order = np.random.default_rng(seed).permutation(list(self.train_shards)).tolist()
        return np.concatenate([images.numpy() for images, _ in self._centre_crops(order, nb_pictures, 64)])

    def hold_out(self, nb_held_out: int) -> "RecordDataset":
        """The data set whose test pictures are those of the last training shards, about `nb_held_out` of them."""
        per_shard = self.nb_train / len(self.train_shards)
        count = max(1, round(nb_held_out / per_shard))
        if count >= len(self.train_shards):
            raise UsageError(
                f"{nb_held_out} held-out pictures: {self.name} has only {len(self.train_shards)} training shards, and "
                "whole ones are held out; make more of them, or leave out --enbl_trn_val_split"
            )
        held = self.train_shards[-count:]
        nb_held = sum(int(self.damage.nb_whole_records(os.fsencode(path))) for path in held)
        return dataclasses.replace(
            self,
            name=f"{self.name}, held out",
            train_shards=self.train_shards[:-count],
            test_shards=held,
            nb_train=self.nb_train - nb_held,
            nb_test=nb_held,
        )

    def _centre_crops(self, shards: Sequence[str], nb_pictures: int | None, batch_size: int) -> "_Watched":
        records = self._records(tf.data.Dataset.from_tensor_slices(list(shards)))
        taken = records.take(-1 if nb_pictures is None else nb_pictures).enumerate()
        return self._batches(taken, batch_size, lambda contents, _: centre_crop(contents, self.image_size))

    def _records(self, shards: tf.data.Dataset) -> tf.data.Dataset:
        """The records of all shards, those behind a cut left out."""

        def records_of(shard: tf.Tensor) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(shard).take(
                tf.numpy_function(self.damage.nb_whole_records, [shard], tf.int64)
            )

        return shards.interleave(records_of, CYCLE_LENGTH, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _batches(self, records: tf.data.Dataset, batch_size: int, crop: Callable) -> "_Watched":
        """Batches of so many records each, less those whose picture cannot be decoded.

        Args:
            records: pairs (key, record).
            crop: (picture file, key) to the picture.
        """
        nothing = (tf.zeros([0], tf.int64), tf.zeros([0, self.image_size, self.image_size, 3]))

        def batch(keys: tf.Tensor, window: tf.Tensor) -> tf.data.Dataset:
            parsed = tf.io.parse_example(window, FEATURES)
            files = tf.data.Dataset.from_tensor_slices((parsed["image/encoded"], keys)).enumerate()
            # A batch is a data set of its own, so that a picture that fails leaves it, and no other one moves up.
            pictures = files.map(lambda row, file: (row, crop(*file)), tf.data.AUTOTUNE).ignore_errors()
            found = pictures.batch(batch_size).concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
            return found.map(lambda rows, images: (images, self._labels_of(parsed, rows)))

        # Two batches at a time: no core waits for the last picture of one.
        batches = records.batch(batch_size).interleave(batch, 2, num_parallel_calls=2, deterministic=True)
        return _Watched(batches.prefetch(2), self)

    def _labels_of(self, parsed: dict[str, tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
        """The labels of the pictures that were decoded; the others are noted."""
        labels = tf.cast(parsed["image/class/label"], tf.int32) - 1

        def note() -> tf.Tensor:
            sizes = tf.strings.length(parsed["image/encoded"])
            nameless = tf.strings.join(
                ["a picture of class ", tf.as_string(labels), ", ", tf.as_string(sizes), " bytes,"]
            )
            names = tf.where(parsed["image/filename"] == "", nameless, parsed["image/filename"])
            return tf.numpy_function(self.damage.note_missing, [names, rows], tf.bool)

        # Python is asked only where a picture is missing: it would be the bottleneck of many cores.
        tf.cond(tf.size(rows) == tf.size(labels), lambda: True, note)
        return tf.gather(labels, rows)


class _Watched:
    """Batches whose errors are one clear line."""

    def __init__(self, batches: tf.data.Dataset, data: RecordDataset):
        self._batches, self._data = batches, data

    def __iter__(self) -> Iterator:
        try:
            yield from self._batches
        except tf.errors.DataLossError:
            raise RunError(f"{self._altered()} is altered: delete it and make it again") from None
        except tf.errors.NotFoundError as error:
            raise RunError(f"{error.message[:200]}: bring it back and run the same command") from None
        except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
            self._data.damage.check()
            raise RunError(
                f"a record of {self._data.name} is not a picture with its label ({error.message[:200]}): make the "
                "shards again"
            ) from None

    def _altered(self) -> str:
        """The first shard whose checksums do not hold; all are read for it."""
        for shard in (*self._data.test_shards, *self._data.train_shards):
            try:
                for _ in tf.data.TFRecordDataset(shard):
                    pass
            except tf.errors.DataLossError:
                return shard
        return f"a shard of {self._data.name}"
