import keras
import numpy as np

from secateur.export import save_keras
from secateur.nets import controls
from secateur.nets.runs import How, Where
from tests.training.helpers import tiny_task


def test_the_shape_begins_with_the_same_random_weights_whatever_was_drawn_before(tmp_path, monkeypatch):
    """On every worker, and in a process that was started again."""
    task = tiny_task(pretrained=tmp_path / "dense.keras")
    save_keras(task.build_model(), task.pretrained)
    seen = []
    monkeypatch.setattr(controls, "train_model", lambda model, *_: seen.append(model.get_weights()))
    monkeypatch.setattr(controls, "_scores", lambda *_: {})
    for drawn in range(2):
        keras.utils.set_random_seed(drawn)
        controls.from_scratch(task, task.pretrained, 1.0, Where(str(tmp_path), str(tmp_path)), How())
    dense = keras.models.load_model(task.pretrained).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))
    assert not np.array_equal(seen[0][0], dense[0])
