import keras
import numpy as np
import pytest

from secateur.export import save_keras
from secateur.learners import registry
from secateur.learners.fbs.config import FbsConfig
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.stripe.config import StripeConfig
from secateur.nets import controls, pipeline
from secateur.nets.runs import How, Where
from secateur.utils.errors import UsageError
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


@pytest.mark.parametrize(
    ("learner", "config", "control"),
    [
        ("stripe", StripeConfig(), "scratch"),
        ("stripe", StripeConfig(stripe_from_scratch=True), "dense_same_budget"),
        ("fbs", FbsConfig(), "scratch"),
        ("fbs", FbsConfig(warm_start=__file__), "dense_same_budget"),
        ("fcf", FcfConfig(fcf_scope="filter"), "scratch"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(tmp_path, learner, config, control):
    where, how = Where(str(tmp_path), str(tmp_path)), How(controls=(control,))
    with pytest.raises(UsageError, match=rf"{controls.FLAGS[control]}, --learner {learner}: .*; leave the flag out"):
        pipeline.train(tiny_task(), learner, config, where, how)
    assert list(tmp_path.iterdir()) == []
    assert "dense_same_budget" not in registry.find(learner).learner.refused_controls(type(config)())


def test_what_the_network_knows_of_its_pictures_is_not_forgotten(tmp_path, monkeypatch):
    adapted = keras.layers.Normalization(name="adapted")
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(adapted(inputs)))
    adapted.adapt(np.random.default_rng(0).normal(5.0, 3.0, (64, 4, 4, 1)))
    path = tmp_path / "pruned.keras"
    save_keras(keras.Model(inputs, outputs), path)
    seen = []
    monkeypatch.setattr(controls, "train_model", lambda model, *_: seen.append(model))
    monkeypatch.setattr(controls, "_scores", lambda *_: {})
    task = tiny_task(pretrained=tmp_path / "dense.keras")
    save_keras(task.build_model(), task.pretrained)
    controls.from_scratch(task, path, 1.0, Where(str(tmp_path), str(tmp_path)), How())
    picture = np.full((1, 4, 4, 1), 5.0, np.float32)
    assert np.allclose(seen[0].get_layer("adapted")(picture), adapted(picture))
    assert abs(float(adapted(picture)[0, 0, 0, 0])) < 1.0
