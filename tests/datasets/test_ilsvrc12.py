import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets import ilsvrc12
from secateur.utils.errors import RunError, UsageError

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "build_ilsvrc12_tfrecords.py"


def jpeg(value: int, channels: int = 3, size=(40, 52)) -> bytes:
    return tf.io.encode_jpeg(np.full((*size, channels), value, np.uint8)).numpy()


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> pathlib.Path:
    """Three classes of flat colour: folders for training, names with synsets for validation; made by the tool."""
    root = tmp_path_factory.mktemp("ilsvrc12")
    for k, synset in enumerate(("n01", "n02", "n03")):
        (root / "train" / synset).mkdir(parents=True)
        for index in range(8):
            (root / "train" / synset / f"{synset}_{index}.JPEG").write_bytes(
                jpeg(60 * k + 2 * index, 1 + 2 * (index > 0))
            )
        (root / "val").mkdir(exist_ok=True)
        for index in range(2):
            (root / "val" / f"{synset}_{index}.JPEG").write_bytes(jpeg(60 * k + 2 * index))
    build(root)
    return root


def build(root: pathlib.Path, *more: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, str(TOOL), "--train", str(root / "train"), "--validation", str(root / "val")]
    command += ["--out", str(root / "out"), "--train_shards", "4", "--validation_shards", "2", "--processes", "1"]
    return subprocess.run([*command, *more], check=check, capture_output=True, text=True)


def load(shards: pathlib.Path) -> ilsvrc12.RecordDataset:
    return ilsvrc12.load(shards / "out", image_size=16)


def values(images) -> list[int]:
    return np.asarray(images)[:, 8, 8, 0].round().astype(int).tolist()


def test_records_of_the_tool_come_back(shards):
    data = load(shards)
    assert (data.nb_train, data.nb_test, data.labels) == (24, 6, ["n01", "n02", "n03"])
    batches = list(data.eval_batches(4))
    assert [len(labels) for _, labels in batches] == [4, 2]
    found = np.concatenate([values(images) for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    assert sorted(found) == [0, 2, 60, 62, 120, 122]
    np.testing.assert_array_equal(found // 60, labels)
    assert data.pictures(5, seed=0).shape == (5, 16, 16, 3)
    facts = json.loads((shards / "out" / "counts.json").read_text())
    assert len(facts["shards"]) == 6
    path = shards / "out" / "train-00000-of-00004"
    assert facts["shards"][path.name]["bytes"] == path.stat().st_size


@pytest.mark.parametrize("seed_of_the_program", [0, 3])
def test_batches_depend_on_their_own_seed_alone(shards, seed_of_the_program):
    data = load(shards)
    expected = values(next(iter(data.train_batches(12, seed=5)))[0])
    tf.random.set_seed(seed_of_the_program)
    assert values(next(iter(data.train_batches(12, seed=5)))[0]) == expected
    assert values(next(iter(data.train_batches(12, seed=6)))[0]) != expected


def test_a_shard_of_another_size_is_named_at_once(shards, tmp_path):
    shutil.copytree(shards / "out", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "train-00001-of-00004"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"train-00001-of-00004 has \d+ bytes, \d+ when it was made"):
        ilsvrc12.load(tmp_path)


def test_the_tool_refuses_to_mix_pictures(shards):
    (shards / "train" / "n01" / "n01_new.JPEG").write_bytes(jpeg(1))
    found = build(shards, check=False)
    (shards / "train" / "n01" / "n01_new.JPEG").unlink()
    assert found.returncode == 1
    assert "are of other pictures: choose another --out" in found.stderr


def test_validation_pictures_without_a_synset_in_their_names(shards, tmp_path):
    (tmp_path / "val").mkdir()
    for k in range(3):
        (tmp_path / "val" / f"ILSVRC2012_val_{k}.JPEG").write_bytes(jpeg(60 * k))
    (tmp_path / "train").symlink_to(shards / "train")
    found = build(tmp_path, check=False)
    assert "ILSVRC2012 is not among the 3 synsets" in found.stderr
    assert "--validation_synsets" in found.stderr
    (tmp_path / "synsets.txt").write_text("n01\nn02\nn03\n")
    build(tmp_path, "--validation_synsets", str(tmp_path / "synsets.txt"))
    ((images, labels),) = load(tmp_path).eval_batches(4)
    np.testing.assert_array_equal(np.array(values(images)) // 60, labels)


def test_the_tool_makes_only_what_is_missing(shards):
    path = shards / "out" / "train-00002-of-00004"
    before = {p: p.stat().st_mtime_ns for p in (shards / "out").glob("train-*")}
    content = path.read_bytes()
    path.unlink()
    build(shards)
    assert path.read_bytes() == content
    after = {p: p.stat().st_mtime_ns for p in (shards / "out").glob("train-*")}
    assert [p for p in before if after[p] != before[p]] == [path]


def test_an_epoch_has_every_picture_once(shards):
    batches = iter(load(shards).train_batches(6, seed=1))
    epochs = [[v for _ in range(4) for v in values(next(batches)[0])] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(60 * k + 2 * n for k in range(3) for n in range(8))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("first", [2, 5])
def test_batches_are_a_pure_function_of_seed_and_step(shards, first):
    batches = iter(load(shards).train_batches(5, seed=3))
    for _ in range(first):
        next(batches)
    expected, found = next(batches), next(iter(load(shards).train_batches(5, seed=3, first_step=first)))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("size", [2, 3])
def test_workers_see_different_pictures(shards, size):
    parts = [values(next(iter(load(shards).train_batches(4, 0, rank=rank, size=size)))[0]) for rank in range(size)]
    assert len({value for part in parts for value in part}) == 4 * size


def test_held_out_shards_leave_the_training(shards):
    data = load(shards).hold_out(5)
    assert (data.nb_train, data.nb_test) == (18, 6)
    assert sum(len(labels) for _, labels in data.eval_batches(4)) == 6


PNG = tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy()
# Cut off, no header behind the first bytes, nothing at all, rubbish, half of another format.
BROKEN = [jpeg(0)[:-40], jpeg(0)[:4] + bytes(200) + jpeg(0)[204:], b"", b"rubbish", PNG[:-30]]


def broken_shards(tmp_path, count: int) -> ilsvrc12.RecordDataset:
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


def test_broken_pictures_are_named_and_left_out(tmp_path, capfd):
    data = broken_shards(tmp_path, count=5)
    found = [value for images, _ in data.eval_batches(2) for value in values(images)]
    assert found == [50, 60, 70, 80]
    # They are decoded in parallel: in no order.
    assert sorted(data.damage.names) == [f"{k}.JPEG" for k in range(5)]
    shown = capfd.readouterr().err
    assert all(f"{k}.JPEG is broken and left out" in shown for k in range(5))
    assert "(5 so far)" in shown


@pytest.mark.parametrize("first", [1, 4, 6])
def test_batches_go_on_exactly_around_broken_pictures_and_cuts(tmp_path, first):
    broken_shards(tmp_path, count=2)
    path = tmp_path / "train-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-5])  # five of six records, two of them broken

    def batches(first_step: int):
        return iter(ilsvrc12.load(tmp_path, 16).train_batches(2, seed=3, first_step=first_step))

    undisturbed = batches(0)
    for _ in range(first):
        next(undisturbed)
    for (images, labels), (again, labels_again), _ in zip(undisturbed, batches(first), range(5), strict=False):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_colours_of_every_mode(mode):
    """A red, or grey, picture as the decoder of ILSVRC-12's pictures gives it; some of those are CMYK."""
    image = pytest.importorskip("PIL.Image")
    colour = {"RGB": (200, 40, 40), "L": 90, "CMYK": (55, 215, 215, 0)}[mode]
    buffer = io.BytesIO()
    image.new(mode, (40, 40), colour).save(buffer, "JPEG", quality=95)
    found = np.asarray(ilsvrc12.centre_crop(tf.constant(buffer.getvalue()), 16))[8, 8]
    expected = (90, 90, 90) if mode == "L" else (200, 40, 40)
    np.testing.assert_allclose(found, expected, atol=12)


def test_too_many_broken_pictures_end_the_run(tmp_path):
    data = broken_shards(tmp_path, count=3)
    data.damage.limit = 2
    with pytest.raises(RunError, match=r"more than 2 pictures are broken, \d\.JPEG"):
        list(data.eval_batches(2))


@pytest.mark.parametrize(("cut", "left"), [(-5, 3), (6, 0)])
def test_a_truncated_shard_is_named_and_its_rest_left_out(tmp_path, capfd, cut, left):
    data = broken_shards(tmp_path, count=0)
    path = tmp_path / "validation-00000-of-00001"
    path.write_bytes(path.read_bytes()[:cut])
    assert sum(len(labels) for _, labels in data.eval_batches(2)) == left
    assert data.damage.names == [str(path)]
    assert f"{path} is cut off after {left} records" in capfd.readouterr().err


def test_an_altered_shard_is_named(tmp_path):
    data = broken_shards(tmp_path, count=0)
    path = tmp_path / "validation-00000-of-00001"
    contents = bytearray(path.read_bytes())
    contents[100] ^= 255
    path.write_bytes(contents)
    with pytest.raises(RunError, match=r"validation-00000-of-00001 is altered: delete it"):
        list(data.eval_batches(2))


def test_missing_shards_and_counts(shards, tmp_path):
    with pytest.raises(RunError, match="no ILSVRC-12 shards named: give --data_dir_local"):
        ilsvrc12.load(None)
    with pytest.raises(RunError, match=r"no train-\*-of-\* in"):
        ilsvrc12.load(tmp_path)
    (tmp_path / "train-00001-of-00002").write_bytes(b"")
    with pytest.raises(RunError, match=r"1 of 2 shards are missing in .*, train-00000-of-00002 first"):
        ilsvrc12.load(tmp_path)
    (tmp_path / "train-00000-of-00002").write_bytes(b"")
    (tmp_path / "validation-00000-of-00001").write_bytes(b"")
    with pytest.raises(RunError, match=r"no counts\.json in"):
        ilsvrc12.load(tmp_path)
    with pytest.raises(UsageError, match="batch size 25 on 1 worker"):
        load(shards).train_batches(25, seed=0)
