"""CIFAR-10 in its official binary layout (no pickle)."""

import fcntl
import hashlib
import io
import pathlib
import tarfile
import tempfile
import urllib.error
import urllib.request

import numpy as np

from secateur.datasets.arrays import ArrayDataset, Augment
from secateur.utils.errors import RunError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
FOLDER = "cifar-10-batches-bin"
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS_PER_FILE = 10_000
TRAIN_FILES = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST_FILES = ("test_batch.bin",)
# Copies of the pictures that are known not to be the lossless original, by the checksum of test_batch.bin:
# accuracies on them are not comparable to the decimal, so reports call them by another name.
KNOWN_COPIES = {"fc415d9c60954e414e3764d6eb9ffc51e2649c5e18085f9cb464aebe33022dff": "CIFAR-10 (JPEG)"}


def load(data_dir: pathlib.Path | None, download_to: pathlib.Path = pathlib.Path("data")) -> ArrayDataset:
    """Read 50,000 training and 10,000 test pictures of 32x32 RGB.

    Args:
        data_dir: the folder that holds `cifar-10-batches-bin` (or is it); None to download.
        download_to: where a download is kept.

    Raises:
        RunError: no data there and none to be had, or a file is truncated or holds an impossible label.
    """
    folder = _find(data_dir) if data_dir else _download(download_to)
    train_images, train_labels = _read_all(folder, TRAIN_FILES)
    test_images, test_labels = _read_all(folder, TEST_FILES)
    checksum = hashlib.sha256((folder / TEST_FILES[0]).read_bytes()).hexdigest()
    return ArrayDataset(
        name=KNOWN_COPIES.get(checksum, "CIFAR-10"),
        labels=LABELS,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        augment=Augment(pad=4, flip=True),
    )


def _find(data_dir: pathlib.Path) -> pathlib.Path:
    """The folder with the six .bin files, at `data_dir` itself or one level below."""
    for folder in (data_dir, data_dir / FOLDER):
        if (folder / TEST_FILES[0]).is_file():
            return folder
    raise RunError(f"no CIFAR-10 under {data_dir}: {FOLDER}/{TEST_FILES[0]} is not there. {_ways()}")


def _ways() -> str:
    return (
        "Three ways to the data: --data_dir_local DIR (the folder that holds cifar-10-batches-bin), "
        "the line 'data_dir_local_cifar10 = DIR' in path.conf, or a download of the binary version from "
        f"{URL} where the network allows"
    )


def _download(target: pathlib.Path) -> pathlib.Path:
    """Fetch, check and unpack the official archive, once; workers that come meanwhile wait for the first."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / FOLDER / TEST_FILES[0]).is_file():
            _unpack(_fetch(target), target)
    return target / FOLDER


def _fetch(target: pathlib.Path) -> bytes:
    print(f"CIFAR-10: downloading {URL} to {target}", flush=True)
    try:
        with urllib.request.urlopen(URL, timeout=30) as response:
            archive = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise RunError(f"no CIFAR-10: the download failed ({error}). {_ways()}") from error
    checksum = hashlib.sha256(archive).hexdigest()
    if checksum != SHA256:
        raise RunError(f"CIFAR-10: the download has SHA-256 {checksum}, expected {SHA256}: try again. {_ways()}")
    return archive


def _unpack(archive: bytes, target: pathlib.Path) -> None:
    """Into a folder beside, which is moved when it is whole: a kill leaves all of it or nothing."""
    with (
        tempfile.TemporaryDirectory(dir=target) as beside,
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar,
    ):
        tar.extractall(beside, filter="data")
        (pathlib.Path(beside) / FOLDER).replace(target / FOLDER)


def _read_all(folder: pathlib.Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    parts = [_read(folder / name) for name in names]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """One file of 10,000 records: a label byte, then the R, G and B planes of 32x32, row by row."""
    try:
        records = np.fromfile(path, np.uint8)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}. {_ways()}") from error
    expected = RECORDS_PER_FILE * RECORD_BYTES
    if records.size != expected:
        raise RunError(f"{path} has {records.size} bytes, expected {expected}: it is truncated; fetch it again")
    records = records.reshape(RECORDS_PER_FILE, RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    if labels.max() >= len(LABELS):
        raise RunError(f"{path} holds the label {labels.max()}, expected 0 to 9: it is damaged; fetch it again")
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
