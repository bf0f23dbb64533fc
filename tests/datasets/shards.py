"""Small shards of ILSVRC-12's form, whole ones made by the tool and broken ones."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf

from secateur.datasets import ilsvrc12
from secateur.datasets.records import RecordDataset

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "build_ilsvrc12_tfrecords.py"


def jpeg(value: int, channels: int = 3, size=(40, 52)) -> bytes:
    return tf.io.encode_jpeg(np.full((*size, channels), value, np.uint8)).numpy()


def make_shards(root: pathlib.Path) -> pathlib.Path:
    """Three classes of flat colour: folders for training, names with synsets for validation; made by the tool."""
    for k, synset in enumerate(("n01", "n02", "n03")):
        (root / "train" / synset).mkdir(parents=True)
        for index in range(8):
            contents = jpeg(60 * k + 2 * index, 1 + 2 * (index > 0))
            (root / "train" / synset / f"{synset}_{index}.JPEG").write_bytes(contents)
        (root / "val").mkdir(exist_ok=True)
        for index in range(2):
            (root / "val" / f"{synset}_{index}.JPEG").write_bytes(jpeg(60 * k + 2 * index))
    build(root)
    return root


def build(root: pathlib.Path, *more: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TOOL), "--train", str(root / "train"), "--validation", str(root / "val")]
    command += ["--out", str(root / "out"), "--train_shards", "4", "--validation_shards", "2", "--processes", "1"]
    return subprocess.run([*command, *more], check=check, capture_output=True, text=True)


def load(shards: pathlib.Path) -> RecordDataset:
    return ilsvrc12.load(shards / "out", image_size=16)


def values(images) -> list[int]:
    return np.asarray(images)[:, 8, 8, 0].round().astype(int).tolist()


def broken_inside() -> bytes:
    """A JPEG with its header and its end, and between them a marker that no decoder takes there."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 52, 3)).astype(np.uint8)
    contents = tf.io.encode_jpeg(noise, progressive=True).numpy()
    middle = len(contents) // 2
    return contents[:middle] + b"\xff\xc4\x00\x01" + contents[middle + 4 :]


PNG = tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy()
# Inside, cut off, no header behind the first bytes, nothing at all, rubbish, half of another format.
BROKEN = [broken_inside(), jpeg(0)[:-40], jpeg(0)[:4] + bytes(200) + jpeg(0)[204:], b"", b"rubbish", PNG[:-30]]


def broken_shards(tmp_path, count: int) -> RecordDataset:
    for part, number in (("train", 1), ("validation", 1)):
        with tf.io.TFRecordWriter(str(tmp_path / f"{part}-00000-of-0000{number}")) as writer:
            for k in range(count + 4):
                # What stands behind the end of a JPEG does not matter.
                contents = jpeg(10 * k) + bytes(100) if k >= count else BROKEN[k]
                feature = {
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[contents])),
                    "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
                    "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"{k}.JPEG".encode()])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    (tmp_path / "counts.json").write_text(json.dumps({"train": count + 4, "validation": count + 4}))
    return ilsvrc12.load(tmp_path, 16)
