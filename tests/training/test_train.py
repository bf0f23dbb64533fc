import dataclasses

import numpy as np
import pytest

from secateur.export import save_keras
from secateur.training.pretrained import load_pretrained
from secateur.training.train import stream_seed, train_dense
from secateur.utils.errors import RunError
from tests.training.helpers import open_run, tiny_task


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_lowers_the_loss(tmp_path, precision):
    task = tiny_task(nb_epochs=8)
    data = task.load_data()
    with open_run(tmp_path, precision=precision).open() as run:
        model = train_dense(task, data, run)
        assert run.outputs("steps") == {"dense": 24}
    logits = np.asarray(model(data.train_images.astype(np.float32)))
    assert np.mean(logits.argmax(1) == data.train_labels) > 0.6


def test_streams_differ_by_stage_and_seed(tmp_path):
    runs = [open_run(tmp_path, seed=seed) for seed in (0, 1)]
    assert len({stream_seed(run, stage) for run in runs for stage in "ab"}) == 4


def test_pretrained_file_gives_its_weights(tmp_path, randomise):
    task = tiny_task()
    model = randomise(task.build_model())
    save_keras(model, tmp_path / "m.keras")
    loaded = load_pretrained(dataclasses.replace(task, pretrained=tmp_path / "m.keras"))
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True))


def test_missing_damaged_and_foreign_pretrained_files(tmp_path):
    task = tiny_task()
    with pytest.raises(RunError, match=r"no pretrained model at .*--save_path"):
        load_pretrained(dataclasses.replace(task, pretrained=tmp_path / "none.keras"))
    (tmp_path / "bad.keras").write_bytes(b"rubbish")
    with pytest.raises(RunError, match=r"bad\.keras is not a readable \.keras file"):
        load_pretrained(dataclasses.replace(task, pretrained=tmp_path / "bad.keras"))
    from secateur.nets.resnet import resnet

    save_keras(resnet((8, 8, 1), 3, 8), tmp_path / "other.keras")
    with pytest.raises(RunError, match=r"other\.keras holds another network than resnet8_at_noise"):
        load_pretrained(dataclasses.replace(task, pretrained=tmp_path / "other.keras"))
