"""ILSVRC-12 as TFRecord shards: train-00000-of-01024 …, validation-00000-of-00128 …

A record holds `image/encoded` (a picture file), `image/class/label` (1 to 1000, as the shards that others made have it)
and `image/filename`. Labels come out as 0 to 999: there is no background class.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from secateur.datasets.crops import centre_crop, random_crop
from secateur.datasets.damage import Damage
from secateur.utils.errors import RunError, UsageError

COUNTS = "counts.json"
# Of the complete set, for shards without a counts.json.
COMPLETE = {"train": (1024, 1_281_167), "validation": (128, 50_000)}
NB_CLASSES = 1000
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
            return mine.enumerate().map(lambda index, record: (record, tf.stack([key[0] + (1 << 32) * epoch, index])))

        def load(record: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return self._load(record, lambda contents: random_crop(contents, self.image_size, key + rank))

        first_epoch, skipped = divmod(first_step, per_epoch)
        records = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(records_of_epoch)
        return self._watched(records.skip(skipped * batch_size).map(load, tf.data.AUTOTUNE), batch_size)

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
            raise UsageError(f"{nb_held_out} held-out pictures: {self.name} has only {len(self.train_shards)} shards")
        held = self.train_shards[-count:]
        nb_held = sum(1 for _ in tf.data.TFRecordDataset(list(held)))
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

        def load(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            return self._load(record, lambda contents: centre_crop(contents, self.image_size))

        taken = records.take(-1 if nb_pictures is None else nb_pictures)
        return self._watched(taken.map(load, tf.data.AUTOTUNE), batch_size)

    def _records(self, shards: tf.data.Dataset) -> tf.data.Dataset:
        """The records of all shards, those behind a cut left out."""

        def records_of(shard: tf.Tensor) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(shard).take(
                tf.numpy_function(self.damage.nb_whole_records, [shard], tf.int64)
            )

        return shards.interleave(records_of, CYCLE_LENGTH, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _load(self, record: tf.Tensor, crop) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """(picture, label, whether it could be decoded); a broken one is noted, and an empty picture stands for it."""
        parsed = tf.io.parse_single_example(record, FEATURES)
        contents, label = parsed["image/encoded"], tf.cast(parsed["image/class/label"], tf.int32) - 1
        whole = tf.numpy_function(self.damage.is_whole, [contents, parsed["image/filename"], label], tf.bool)
        nothing = tf.zeros([self.image_size, self.image_size, 3])
        return tf.cond(whole, lambda: crop(contents), lambda: nothing), label, tf.ensure_shape(whole, [])

    def _watched(self, pictures: tf.data.Dataset, batch_size: int) -> "_Watched":
        """Batches without their broken pictures."""

        def without_broken(images: tf.Tensor, labels: tf.Tensor, whole: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            kept = (tf.boolean_mask(images, whole), tf.boolean_mask(labels, whole))
            return tf.cond(tf.reduce_all(whole), lambda: (images, labels), lambda: kept)

        return _Watched(pictures.batch(batch_size).map(without_broken).prefetch(2), self)


class _Watched:
    """Batches whose errors are one clear line."""

    def __init__(self, batches: tf.data.Dataset, data: RecordDataset):
        self._batches, self._data = batches, data

    def __iter__(self) -> Iterator:
        try:
            yield from self._batches
        except tf.errors.DataLossError:
            raise RunError(f"{self._altered()} is altered: delete it and make it again") from None
        except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
            if not self._data.damage.is_too_much:
                raise RunError(f"a picture of {self._data.name} cannot be decoded ({error.message[:200]})") from None
            names, limit = ", ".join(self._data.damage.names[:3]), self._data.damage.limit
            raise RunError(
                f"more than {limit} pictures are broken, {names} among them: make the shards again"
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


def load(directory: pathlib.Path | None, image_size: int = 224) -> RecordDataset:
    """Find the shards in a folder.

    Raises:
        RunError: no folder named, no shards in it, some missing, or their number of records is not known.
    """
    if directory is None:
        raise RunError(
            "no ILSVRC-12 shards named: give --data_dir_local DIR, or data_dir_local_ilsvrc12 = DIR in path.conf "
            "(tools/build_ilsvrc12_tfrecords.py makes them)"
        )
    shards = {part: _shards(directory, part) for part in COMPLETE}
    counts = _counts(directory, shards)
    _check_sizes(directory, shards)
    facts = {path.name: path.stat().st_size for part in shards.values() for path in part}
    return RecordDataset(
        name="ILSVRC-12",
        labels=_labels(directory),
        train_shards=[str(path) for path in shards["train"]],
        test_shards=[str(path) for path in shards["validation"]],
        nb_train=counts["train"],
        nb_test=counts["validation"],
        image_size=image_size,
        sha256=_digest({"files": facts, "counts": counts}),
    )


def _shards(directory: pathlib.Path, part: str) -> list[pathlib.Path]:
    """All shards of a part, in order, none missing."""
    found = sorted(directory.glob(f"{part}-*-of-*"))
    if not found:
        raise RunError(f"no {part}-*-of-* in {directory}: name the folder of the TFRecord shards with --data_dir_local")
    total = int(found[0].name.rsplit("-", 1)[1])
    expected = [directory / f"{part}-{k:05d}-of-{total:05d}" for k in range(total)]
    missing = [path.name for path in expected if not path.is_file()]
    if missing:
        raise RunError(
            f"{len(missing)} of {total} shards are missing in {directory}, {missing[0]} first: make them again"
        )
    return expected


def _counts(directory: pathlib.Path, shards: dict[str, list[pathlib.Path]]) -> dict[str, int]:
    """Records of each part: as counts.json says, else those of the complete set."""
    path = directory / COUNTS
    if path.is_file():
        return {part: int(json.loads(path.read_text(encoding="utf-8"))[part]) for part in COMPLETE}
    if all(len(shards[part]) == number for part, (number, _) in COMPLETE.items()):
        return {part: count for part, (_, count) in COMPLETE.items()}
    raise RunError(
        f"no {COUNTS} in {directory}, and the shards are not the complete set: make them again with the tool"
    )


def _check_sizes(directory: pathlib.Path, shards: dict[str, list[pathlib.Path]]) -> None:
    """Shards that the tool made must be as long as they were then."""
    path = directory / COUNTS
    made = json.loads(path.read_text(encoding="utf-8")).get("shards", {}) if path.is_file() else {}
    for shard in (shard for part in shards.values() for shard in part):
        expected, found = made.get(shard.name, {}).get("bytes"), shard.stat().st_size
        if expected not in (None, found):
            raise RunError(f"{shard} has {found} bytes, {expected} when it was made: delete it and make it again")


def _labels(directory: pathlib.Path) -> list[str]:
    path = directory / "labels.txt"
    return path.read_text(encoding="utf-8").split() if path.is_file() else [str(k) for k in range(NB_CLASSES)]


def _digest(facts: dict) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
