import re
import sys

import numpy as np
import pytest

from secateur.utils.errors import RunError
from tests.datasets.shards import build, jpeg, load, values
from tests.tools.helpers import load as load_tool


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
