import numpy as np
import pytest
import tensorflow as tf

from secateur.export import graphs
from secateur.nets.resnet import resnet
from secateur.training.precision import to_training
from secateur.utils.errors import RunError

PICTURES = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 1)).astype(np.float32)


@pytest.fixture
def model(randomise):
    return randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))


def test_frozen_graph_holds_constants_and_named_ends(model, tmp_path):
    graphs.save_graph_def(to_training(model, "bfloat16"), tmp_path / "model.pb")
    nodes = tf.compat.v1.GraphDef.FromString((tmp_path / "model.pb").read_bytes()).node
    assert {"image", "logits"} <= {node.name for node in nodes}
    assert not [node.op for node in nodes if "Variable" in node.op]
    np.testing.assert_allclose(graphs.run_graph_def(tmp_path / "model.pb", PICTURES), model(PICTURES), atol=1e-4)


def test_saved_model_takes_any_batch(model, tmp_path):
    graphs.save_saved_model(model, tmp_path / "deep" / "saved")
    for count in (1, 5):
        found = graphs.run_saved_model(tmp_path / "deep" / "saved", PICTURES[:count])
        np.testing.assert_allclose(found, model(PICTURES[:count]), atol=1e-4)


def test_a_folder_that_cannot_be_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        graphs.shutil, "move", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(RunError, match=r"cannot write .*saved \(Permission denied\): choose a folder"):
        graphs.save_saved_model(model, tmp_path / "saved")
