"""A whole run on pictures that lie in TFRecord shards, as the networks for ILSVRC-12 read them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets import ilsvrc12
from secateur.nets import runner
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.training.task import Recipe, Task

RECIPE = Recipe(1, 0.01, 1, 0.01, batch_size=4, batch_size_eval=4, dcp_nb_iters_block=2, dcp_nb_iters_layer=2)


def feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


@pytest.fixture
def records(tmp_path):
    """Two shards for training and one for validation, eight pictures of three classes in each."""
    generator, folder = np.random.default_rng(0), tmp_path / "records"
    folder.mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"):
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for k in range(8):
                picture = tf.io.encode_jpeg(generator.integers(0, 256, (40, 48, 3)).astype(np.uint8)).numpy()
                values = {"image/encoded": picture, "image/class/label": k % 3 + 1, "image/filename": f"{k}".encode()}
                features = tf.train.Features(feature={key: feature(value) for key, value in values.items()})
                writer.write(tf.train.Example(features=features).SerializeToString())
    (folder / "labels.txt").write_text("a\nb\nc\n")
    counts = {"train": 16, "validation": 8, "shards": {}}
    (folder / "counts.json").write_text(json.dumps(counts))
    return folder


def test_a_run_on_records_with_the_default_seed(records, tmp_path):
    task = Task(
        "resnet18_at_records",
        lambda: resnet_ilsvrc12(18, 3, 32, (4, 6), (1, 1)),
        lambda: ilsvrc12.load(records, image_size=32),
        RECIPE,
    )
    argv = ["--learner=dis-chn-pruned", "--dcp_nb_stages=1", "--dcp_nb_smpls=8", "--noenbl_layer_latency"]
    argv += [f"--log_dir={tmp_path / 'logs'}", f"--save_path={tmp_path / 'models'}"]
    with pytest.raises(SystemExit) as stopped:
        runner.main(lambda *_: task, runner.NoFlags, argv)
    assert stopped.value.code == 0
    (path,) = (tmp_path / "logs").glob("*_dis-chn-pruned_*/result.json")
    result = json.loads(path.read_text())
    assert (result["data"]["train"], result["data"]["test"], result["seed"]) == (16, 8, 0)
    assert result["pruned"]["macs"] < result["dense"]["macs"]
