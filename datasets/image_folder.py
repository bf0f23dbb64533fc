"""Pictures in class folders, as Imagenette and Imagewoof come: DIR/train/<class>/*.jpg and DIR/val/<class>/*.jpg."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from secateur.datasets.crops import centre_crop, random_crop
from secateur.utils.errors import RunError, UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
VALIDATION_NAMES = ("val", "validation", "test")
# Of a training crop: small pictures of small data sets bear less than ILSVRC-12's.
SMALLEST_AREA = 0.35


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFolder:
    """Files that are decoded when they are needed.

    Attributes:
        name: used in reports.
        labels: names of the class folders, sorted.
        train_files, test_files: paths.
        train_labels, test_labels: [N] int32, 0 to K-1.
        image_size: height and width of the pictures that come out.
    """

    name: str
    labels: Sequence[str]
    train_files: Sequence[str]
    train_labels: np.ndarray
    test_files: Sequence[str]
    test_labels: np.ndarray
    image_size: int

    @property
    def nb_train(self) -> int:
        return len(self.train_files)

    @property
    def nb_test(self) -> int:
        return len(self.test_files)

    @functools.cached_property
    def sha256(self) -> str:
        """Checksum of the names and sizes of all files."""
        digest = hashlib.sha256()
        for file in (*self.train_files, *self.test_files):
            path = pathlib.Path(file)
            digest.update(f"{path.parent.name}/{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()

    @property
    def identity(self) -> str:
        """What tells these pictures from others in the hash of a run."""
        return f"{self.name} {self.image_size} {self.sha256}"

    def hold_out(self, nb_held_out: int) -> "ImageFolder":
        """The data set whose test pictures are `nb_held_out` training pictures, spread over all classes."""
        if not 0 < nb_held_out < self.nb_train:
            raise UsageError(f"{nb_held_out} held-out pictures: must be 1 to {self.nb_train - 1} of {self.name}")
        order = np.random.default_rng(0).permutation(self.nb_train)
        held, left = np.sort(order[:nb_held_out]), np.sort(order[nb_held_out:])
        files = np.array(self.train_files)
        return dataclasses.replace(
            self,
            name=f"{self.name}, held out",
            train_files=files[left].tolist(),
            train_labels=self.train_labels[left],
            test_files=files[held].tolist(),
            test_labels=self.train_labels[held],
        )

    def train_batches(self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1) -> "_Named":
        """Endless shuffled batches of random crops, (images [B, S, S, 3] float32, labels [B] int32).

        Batch number `first_step` is a pure function of (seed, epoch, record), and what comes before is not decoded.
        """
        per_epoch = self.nb_train // (batch_size * size)
        if per_epoch == 0:
            raise UsageError(
                f"batch size {batch_size} on {size} worker(s): {self.name} has only {self.nb_train} training pictures; "
                "choose a smaller --batch_size"
            )
        files, labels = tf.constant(list(self.train_files)), tf.constant(self.train_labels)

        def rows_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            key = tf.stack([tf.cast(seed, tf.int64), epoch])
            order = tf.random.experimental.stateless_shuffle(tf.range(self.nb_train), key)
            rows = tf.reshape(order[: per_epoch * size * batch_size], [per_epoch, size, batch_size])[:, rank]
            return tf.data.Dataset.from_tensor_slices(tf.reshape(rows, [-1])).map(lambda row: (row, epoch))

        def load(row: tf.Tensor, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            key = tf.stack([tf.cast(seed, tf.int64) + (1 << 32) * epoch, tf.cast(row, tf.int64)])
            return random_crop(tf.io.read_file(files[row]), self.image_size, key, SMALLEST_AREA), labels[row]

        first_epoch, skipped = divmod(first_step, per_epoch)
        rows = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(rows_of_epoch)
        pictures = rows.skip(skipped * batch_size).map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return _Named(pictures.batch(batch_size).prefetch(2), self.train_files)

    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> "_Named":
        """Centre crops of the test pictures in order; the last batch may be smaller."""
        files, labels = list(self.test_files[:nb_pictures]), self.test_labels[:nb_pictures]
        return _Named(self._centre_crops(files, labels).batch(batch_size).prefetch(2), files)

    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray:
        """The same centre crops of `nb_pictures` training pictures for a seed, [n, S, S, 3] float32."""
        nb_pictures = min(nb_pictures, self.nb_train)
        rows = np.random.default_rng(seed).choice(self.nb_train, nb_pictures, replace=False)
        files = [self.train_files[row] for row in rows]
        return np.stack([image.numpy() for image, _ in _Named(self._centre_crops(files, rows), files)])

    def _centre_crops(self, files: Sequence[str], labels: np.ndarray) -> tf.data.Dataset:
        pairs = tf.data.Dataset.from_tensor_slices((list(files), labels))

        def load(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return centre_crop(tf.io.read_file(file), self.image_size), label

        return pairs.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


class _Named:
    """Batches whose decoding errors name the file."""

    def __init__(self, batches: tf.data.Dataset, files: Sequence[str]):
        self._batches, self._files = batches, files

    def __iter__(self) -> Iterator:
        try:
            yield from self._batches
        except tf.errors.InvalidArgumentError as error:
            raise RunError(
                f"{self._broken()} is not a readable picture of two or more pixels each way: replace or remove it"
            ) from error

    def _broken(self) -> str:
        for file in self._files:
            try:
                tf.io.decode_image(tf.io.read_file(file), channels=3, expand_animations=False)
                centre_crop(tf.io.read_file(file), 8)
            except tf.errors.InvalidArgumentError:
                return file
        return "a file"


def load(directory: pathlib.Path | None, image_size: int) -> ImageFolder:
    """Read the names of all pictures below `directory`/train and `directory`/val (or validation, or test).

    Raises:
        RunError: no folder named, a folder is missing or has no pictures, or the two have different classes.
    """
    if directory is None:
        raise RunError(
            "no folder of pictures named: give --data_dir_local DIR, or a line data_dir_local_folder = DIR in path.conf"
        )
    validation = next((directory / name for name in VALIDATION_NAMES if (directory / name).is_dir()), directory / "val")
    train_files, train_names = _files(directory / "train")
    test_files, test_names = _files(validation)
    labels = sorted(set(train_names))
    strange = sorted(set(test_names) - set(labels))
    if strange:
        raise RunError(f"{validation / strange[0]}: there is no such class in {directory / 'train'}")
    index = {label: k for k, label in enumerate(labels)}
    return ImageFolder(
        name=directory.name,
        labels=labels,
        train_files=train_files,
        train_labels=np.array([index[name] for name in train_names], np.int32),
        test_files=test_files,
        test_labels=np.array([index[name] for name in test_names], np.int32),
        image_size=image_size,
    )


def _files(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """All pictures in the class folders of `folder`, and the class of each."""
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise RunError(
            f"no pictures in {folder}/<class>/: name the folder that holds train and val with --data_dir_local"
        )
    return [str(path) for path in found], [path.parent.name for path in found]
