import json
import shutil

import numpy as np
import pytest

from secateur.datasets import ilsvrc12
from secateur.utils.errors import RunError, UsageError
from tests.datasets.shards import broken_shards, load, values


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


def test_a_shard_of_another_size_is_named_at_once(shards, tmp_path):
    shutil.copytree(shards / "out", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "train-00001-of-00004"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"train-00001-of-00004 has \d+ bytes, \d+ when it was made"):
        ilsvrc12.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"train": 8}', '{"train": 8, "validation": 8, "shards": {"a": 1}}'])
def test_damaged_counts_are_named(tmp_path, text):
    broken_shards(tmp_path, count=0)
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(RunError, match=r"counts\.json is damaged: delete it and run tools/build_ilsvrc12"):
        ilsvrc12.load(tmp_path)


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
