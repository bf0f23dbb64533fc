"""Models, layers and data as users bring them, through whole runs."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import secateur
from secateur.export import LiteModel
from secateur.nets import runner
from secateur.pruning import rules
from secateur.utils.errors import UsageError
from tests.pruning.networks import ChannelGain
from tests.training.helpers import tiny_task

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(24, 8, 8, 3)).astype(np.float32)
LABELS = np.arange(24) % 3


def with_backbone() -> keras.Model:
    """A Sequential of a functional model that holds a Sequential, as with a network of `keras.applications` inside."""
    inputs = keras.Input((8, 8, 1))
    block = keras.Sequential([layers.Conv2D(6, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()])
    backbone = keras.Model(inputs, layers.Conv2D(8, 3)(block(layers.Rescaling(1 / 255)(inputs))), name="backbone")
    ends = [layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    return keras.Sequential([keras.Input((8, 8, 1)), backbone, *ends], name="own")


@pytest.fixture(scope="module")
def dense_models(tmp_path_factory):
    """Where the dense model lies, which the first learner trains."""
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize(
    "flags",
    [
        ["--learner=chn-pruned", "--chn_bn_l1=0.001", "--chn_nb_epochs_bn_l1=1"],
        ["--learner=dis-chn-pruned", "--dcp_nb_smpls=16"],
    ],
)
def test_models_inside_models_are_trained_and_pruned(tmp_path, dense_models, flags):
    task = dataclasses.replace(tiny_task(), build_model=with_backbone)
    argv = [f"--log_dir={tmp_path / 'logs'}", f"--save_path={dense_models}", "--noenbl_layer_latency", *flags]
    with pytest.raises(SystemExit) as stopped:
        runner.main(lambda *_: task, runner.NoFlags, argv)
    assert stopped.value.code == 0
    (path,) = (tmp_path / "logs").glob("*-pruned_*/result.json")
    result = json.loads(path.read_text())
    assert result["pruned"]["macs"] < 0.6 * result["dense"]["macs"]
    small = keras.models.load_model(path.with_name("model.keras"))
    assert next(layer.filters for layer in small.layers if isinstance(layer, layers.Conv2D)) == 3


def own(*ends: layers.Layer, shape: tuple = (8, 8, 3)) -> keras.Model:
    inputs = keras.Input(shape)
    x = layers.Conv2D(4, 3, name="b")(layers.Conv2D(6, 3, name="a")(inputs))
    for end in (layers.GlobalAveragePooling2D(), *ends):
        x = end(x)
    return keras.Model(inputs, x, name="own")


def test_a_layer_with_a_rule_and_an_adapted_normalisation(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    rules.register_rule(ChannelGain, rules.Passes(config={"channels": "made"}))
    inputs = keras.Input((8, 8, 3))
    normalise = layers.Normalization()
    normalise.adapt(5 + 3 * IMAGES)
    x = layers.Conv2D(6, 3, name="a")(normalise(inputs))
    x = layers.Conv2D(4, 3, name="b")(ChannelGain(6, name="gain")(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), name="own")
    found = secateur.prune(
        model, (5 + 3 * IMAGES, LABELS), (5 + 3 * IMAGES, LABELS), nb_epochs=1, batch_size=8, directory=tmp_path
    )
    assert found.model.get_layer("gain").channels == 3
    assert found.result["pruned"]["macs"] < 0.6 * found.result["dense"]["macs"]
    files = found.result["files"]["dense"]
    np.testing.assert_allclose(LiteModel(files["tflite"]).predict(5 + 3 * IMAGES), model(5 + 3 * IMAGES), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (own(layers.Dense(3, activation="softmax")), "own ends with a softmax"),
        (own(layers.Dense(3), shape=(None, None, 3)), "must be a fixed one"),
        (own(layers.Lambda(lambda x: 2 * x, name="odd"), layers.Dense(3)), "odd is a Lambda: .*keras.ops"),
    ],
)
def test_models_that_do_not_suit_are_refused_before_anything_is_saved(tmp_path, model, says):
    with pytest.raises(UsageError, match=says):
        secateur.prune(model, (IMAGES, LABELS), (IMAGES, LABELS), directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_probabilities_go_with_a_loss_of_their_own(tmp_path):
    def loss(labels, probabilities):
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))

    data = (IMAGES, LABELS), (IMAGES, LABELS)
    model = own(layers.Dense(3, activation="softmax"))
    found = secateur.prune(model, *data, loss=loss, nb_epochs=1, batch_size=8, directory=tmp_path)
    np.testing.assert_allclose(np.sum(found.model(IMAGES), axis=-1), 1, rtol=1e-5)
