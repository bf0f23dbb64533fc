import io
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets import ilsvrc12
from secateur.datasets.crops import centre_crop
from secateur.datasets.records import RecordDataset
from secateur.utils.errors import RunError, UsageError
from tests.tools.helpers import load as load_tool

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


def load(shards: pathlib.Path) -> RecordDataset:
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
    with pytest.raises(UsageError, match=r"23 held-out pictures: .* only 4 training shards.*leave out --enbl_trn_val"):
        load(shards).hold_out(23)


def test_a_cut_shard_can_be_held_out(shards, capfd):
    data = load(shards)
    path = pathlib.Path(data.train_shards[-1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    found = data.hold_out(5)
    nb_evaluated = sum(len(labels) for _, labels in found.eval_batches(4))
    path.write_bytes(whole)
    assert found.nb_test == nb_evaluated == 5
    assert f"{path} is cut off after 5 records" in capfd.readouterr().err


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


def test_broken_pictures_are_named_and_left_out(tmp_path, capfd):
    data = broken_shards(tmp_path, count=6)
    found = [value for images, _ in data.eval_batches(2) for value in values(images)]
    assert found == [60, 70, 80, 90]
    # They are decoded in parallel: in no order.
    assert sorted(data.damage.names) == [f"{k}.JPEG" for k in range(6)]
    shown = capfd.readouterr().err
    assert all(f"{k}.JPEG is broken and left out" in shown for k in range(6))
    assert "(6 so far)" in shown


def test_training_goes_on_around_a_picture_that_is_broken_inside(tmp_path):
    data = broken_shards(tmp_path, count=1)
    batches = iter(data.train_batches(5, seed=3))
    assert [len(next(batches)[1]) for _ in range(8)] == [4] * 8
    assert data.damage.names == ["0.JPEG"]


def test_records_of_something_else(tmp_path):
    data = broken_shards(tmp_path, count=0)
    with tf.io.TFRecordWriter(data.test_shards[0]) as writer:
        writer.write(b"no picture at all")
    with pytest.raises(RunError, match="a record of ILSVRC-12 is not a picture with its label"):
        list(data.eval_batches(2))


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
    found = np.asarray(centre_crop(tf.constant(buffer.getvalue()), 16))[8, 8]
    expected = (90, 90, 90) if mode == "L" else (200, 40, 40)
    np.testing.assert_allclose(found, expected, atol=12)


def test_too_many_broken_pictures_end_the_run(tmp_path):
    data = broken_shards(tmp_path, count=3)
    data.damage.limit = 2
    with pytest.raises(RunError, match=r"more than 2 pictures or shards are broken, \d\.JPEG.*restore or delete them"):
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


@pytest.mark.parametrize("text", ["", "[]", '{"train": 8}', '{"train": 8, "validation": 8, "shards": {"a": 1}}'])
def test_damaged_counts_are_named(tmp_path, text):
    broken_shards(tmp_path, count=0)
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(RunError, match=r"counts\.json is damaged: delete it and run tools/build_ilsvrc12"):
        ilsvrc12.load(tmp_path)


@pytest.mark.parametrize(
    ("flag", "value", "code", "says"),
    [
        ("train_shards", "0", 2, "argument --train_shards: 0: must be a whole number of 1 or more"),
        ("processes", "x", 2, "argument --processes: x: must be a whole number"),
        ("train", "{}/nowhere", 1, "error: no pictures in .*/nowhere: folders named by synset"),
        ("synsets", "{}/none.txt", 1, "error: .*/none.txt cannot be read .No such file.*: name a text file"),
        ("validation_synsets", "{}/one.txt", 1, "error: 1 synsets in .*/one.txt for 6 pictures"),
        ("synsets", "{}/one.txt", 1, "error: n02 is not among the 1 synsets"),
    ],
)
def test_the_tool_names_what_is_wrong(shards, tmp_path, monkeypatch, capsys, flag, value, code, says):
    (tmp_path / "one.txt").write_text("n01 the first class, of which there is one\n")
    places = {"train": shards / "train", "validation": shards / "val", "out": tmp_path / "new"}
    flags = places | {flag: value.format(tmp_path)}
    monkeypatch.setattr(sys, "argv", ["tool", *(f"--{name}={given}" for name, given in flags.items())])
    with pytest.raises(SystemExit) as stopped:
        load_tool("build_ilsvrc12_tfrecords").main()
    assert stopped.value.code == code
    assert re.search(says, capsys.readouterr().err)


def test_a_shard_that_cannot_be_made_leaves_nothing(tmp_path):
    write = load_tool("build_ilsvrc12_tfrecords").write_shard
    (tmp_path / "a.JPEG").write_bytes(jpeg(1))
    with pytest.raises(RunError, match=r"gone\.JPEG cannot be read .*: restore it"):
        write((tmp_path / "train-00000-of-00001", [(tmp_path / "a.JPEG", 1), (tmp_path / "gone.JPEG", 1)]))
    with pytest.raises(RunError, match=r"train-00000-of-00001 cannot be written .*: make room"):
        write((tmp_path / "nowhere" / "train-00000-of-00001", [(tmp_path / "a.JPEG", 1)]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.JPEG"]


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
