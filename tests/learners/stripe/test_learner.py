import dataclasses
import json

import keras
import numpy as np
import pytest

from secateur.export import forms
from secateur.learners.stripe import learner as learner_module
from secateur.learners.stripe import step, targets
from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.learner import StripeLearner, fresh
from secateur.pruning import cost
from secateur.training.loop import Stopped
from secateur.training.train import stream_seed
from secateur.utils.errors import RunError, UsageError
from tests.training.helpers import open_run


def trained(task, directory, precision="float32", **flags):
    with open_run(directory, precision=precision, summ_step=2).open() as run:
        learner = StripeLearner(StripeConfig(**({"stripe_nb_epochs": 12.0} | flags)), task, run)
        learner.train()
    return learner


def predictions(task, model):
    pictures = task.load_data().test_images[:8].astype(np.float32)
    return np.asarray(model(pictures, training=False))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_target_is_met(task, tmp_path, precision):
    learner = trained(task, tmp_path / "run", precision, stripe_target_macs=0.4)
    facts, macs = learner.evaluate(), cost.layer_macs(task.build_model())
    # Of the whole network, though the classifier and the projections keep all they have.
    assert 0.97 * 0.4 <= facts["macs_method"] / sum(macs.values()) <= 0.4
    assert "stage2_block1_shortcut" not in facts["live_stripes"]
    assert facts["masked_vs_shrunk"] < 1e-4
    assert 0 < facts["live_stripes"]["stage2_block1_conv1"] < 1
    assert all(type(layer).__module__.startswith("keras.") for layer in learner.export().layers)
    assert "kernel lives" in (tmp_path / "run" / "shapes.svg").read_text()


def test_a_trained_network_begins_with_its_function(task, tmp_path):
    """No epochs: the skeletons are folded back, and nothing is dead."""
    learner = trained(task, tmp_path / "run", stripe_nb_epochs=0.0)
    dense = keras.models.load_model(task.pretrained)
    np.testing.assert_allclose(predictions(task, learner.export()), predictions(task, dense), atol=1e-4)
    assert learner.evaluate()["macs_method"] == cost.macs(dense)


@pytest.mark.usefixtures("last_form")
def test_without_a_target_the_ratio_is_an_outcome(task, tmp_path):
    """A threshold above every skeleton but the largest: most of the network dies, and what is left is exact."""
    learner = trained(task, tmp_path / "run", stripe_nb_epochs=1.0, stripe_threshold=0.9)
    facts = learner.evaluate()
    assert facts["macs_method"] < 0.7 * cost.macs(task.build_model())
    assert facts["masked_vs_shrunk"] < 1e-4


@pytest.mark.usefixtures("last_form")
def test_a_file_in_eight_bits_may_have_dense_kernels(task, tmp_path, monkeypatch):
    learner = trained(task, tmp_path / "run", stripe_nb_epochs=1.0, stripe_threshold=0.9)
    assert learner.export_lite() is learner.export()
    monkeypatch.setattr(forms, "milliseconds", lambda found, *_: {name: k for k, name in enumerate(found)})
    dense = learner.export_lite(task.load_data().test_images.astype(np.float32))
    assert len(dense.layers) < len(learner.export().layers)
    np.testing.assert_allclose(predictions(task, dense), predictions(task, learner.export()), atol=1e-3)
    assert learner.evaluate()["int8_whole"] == {"dense": 0, "chosen": 1}


def test_a_threshold_that_kills_the_stem_is_an_error(task, tmp_path):
    with pytest.raises(
        RunError, match=r"stem, .*no stripe is left after 3 steps, and nothing leads around; lower --str"
    ):
        trained(task, tmp_path / "run", stripe_nb_epochs=1.0, stripe_threshold=50.0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"stripe_target_macs": 0.5, "stripe_nb_epochs": 0.0},
            "--stripe_target_macs 0.5: nothing is trained, .* fine-tu",
        ),
        (
            {"stripe_from_scratch": True, "stripe_nb_epochs": None},
            "random weights: nothing is trained, .* of training are",
        ),
    ],
)
def test_no_epochs(tmp_path, task, flags, message):
    """As `--pretrained` leaves the recipe of training."""
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs=0))
    with pytest.raises(UsageError, match=message):
        StripeLearner.check(StripeConfig(**flags), task)
    with pytest.raises(UsageError, match=message):
        trained(task, tmp_path / "run", **flags)


def test_the_target_holds_in_a_single_step(task, tmp_path):
    """A ramp that ends before the first step would never be looked at."""
    learner = trained(task, tmp_path / "run", stripe_nb_epochs=0.1, stripe_ramp=0.3, stripe_target_macs=0.5)
    assert learner.evaluate()["macs_method"] <= 0.5 * cost.macs(task.build_model())


@pytest.mark.usefixtures("last_form")
def test_random_weights_do_not_depend_on_what_was_drawn_before(task, tmp_path):
    """As in a process that loads what the killed one trained."""
    found = []
    for name in "ab":
        learner = trained(task, tmp_path / name, stripe_from_scratch=True, stripe_nb_epochs=1.0)
        found.append(learner.export().get_layer("stem").kernel.numpy())
        task.build_model()
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.usefixtures("last_form")
def test_random_weights_train_before_their_stripes_die(task, tmp_path):
    learner = trained(task, tmp_path / "run", stripe_target_macs=0.5, stripe_from_scratch=True, stripe_sr=0.0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    shares = {line["step"]: line["macs_share"] for line in lines if "macs_share" in line}
    assert shares[10] == 1.0
    assert 0.97 * 0.5 <= shares[36] <= 0.5
    assert learner.evaluate()["macs_method"] <= 0.5 * cost.macs(task.build_model())
    assert {float(layer.gamma[0]) for layer in fresh(task.build_model()).layers if hasattr(layer, "gamma")} == {0.5}


@pytest.mark.usefixtures("last_form")
def test_a_target_of_time_narrows_what_is_inside_blocks(task, tmp_path, monkeypatch, capsys):
    """Beside a target of MACs, here one that the filters alone fall below."""
    widths, asked = {"stage2_block1_conv1": 2, "stage3_block1_conv1": 3}, []

    def widths_for_target(kind, share, dense, model, family, multiple, folder):
        asked.append((kind, share, family(0.5)["stage2_block1_conv1"]))
        return widths

    monkeypatch.setattr(targets.export, "widths_for_target", widths_for_target)
    flags = {"stripe_target_latency": 0.7, "stripe_target_macs": 0.95}
    learner = trained(task, tmp_path / "run", **flags)
    assert asked == [("latency", 0.7, 3)]
    facts = learner.evaluate()
    assert facts["live_stripes"]["stage2_block1_conv1"] <= 2 / 6
    assert facts["live_stripes"]["stage3_block1_conv1"] <= 3 / 8
    assert facts["live_stripes"]["stage1_block1_conv1"] == 1.0
    assert facts["masked_vs_shrunk"] < 1e-4
    assert "of the MACs are left and not 0.95: the filters that died for" in capsys.readouterr().err


@pytest.mark.usefixtures("last_form")
@pytest.mark.parametrize(("target", "left"), [(0.5, 0.0), (None, 0.02)])
def test_the_l1_norm_acts_until_the_target_is_met(task, tmp_path, monkeypatch, target, left):
    strengths = []

    def stripe_step(*given):
        strengths.append(given[6])
        return step.stripe_step(*given)

    monkeypatch.setattr(learner_module, "stripe_step", stripe_step)
    trained(task, tmp_path / "run", stripe_target_macs=target, stripe_sr=0.02, stripe_threshold=0.0)
    assert [float(strength) for strength in strengths] == pytest.approx([left])


def one_residual_layer() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.Add()([first, keras.layers.Conv2D(4, 3, padding="same")(first)])
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


def channels_first() -> keras.Model:
    inputs = keras.Input((3, 8, 8))
    x = keras.layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x), name="first")


@pytest.mark.usefixtures("last_form")
@pytest.mark.parametrize("last", [14, 30])
def test_a_kill_changes_nothing(task, tmp_path, last):
    """Stopped while stripes die, or behind the ramp, and started again: the same stripes and weights as in one go."""
    flags = {"stripe_nb_epochs": 12.0, "stripe_target_macs": 0.5, "stripe_sr": 0.05}
    whole = trained(task, tmp_path / "whole", **flags)
    run = open_run(tmp_path / "parts", save_step=7, summ_step=2)
    log = run.log

    def stop_at_last(stage, step, metrics):
        log(stage, step, metrics)
        run.stop_requested = step >= last

    run.log = stop_at_last
    with run.open(), pytest.raises(Stopped):
        StripeLearner(StripeConfig(**flags), task, run).train()
    again = trained(task, tmp_path / "parts", **flags)
    assert again.evaluate()["live_stripes"] == whole.evaluate()["live_stripes"]
    np.testing.assert_allclose(predictions(task, again.export()), predictions(task, whole.export()), atol=1e-3)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "macs_share" in line]
    assert steps == list(range(2, 37, 2))


@pytest.mark.parametrize(
    ("build", "flags", "says"),
    [
        (
            one_residual_layer,
            {"stripe_target_latency": 0.5},
            "stripe_target_latency 0.5: no convolution of this network",
        ),
        (channels_first, {}, "--learner stripe: first has no Conv2D layer of one group, channels last"),
    ],
)
def test_networks_in_which_nothing_could_be_done(task, build, flags, says):
    with pytest.raises(UsageError, match=says):
        StripeLearner.check(StripeConfig(**flags), dataclasses.replace(task, build_model=build, pretrained=None))


def test_a_target_below_what_has_no_stripes(task, tmp_path):
    """Refused before the dense model is trained, and of the model that it really begins with."""
    message = r"--stripe_target_macs 0.01: what has to stay .* of the MACs; choose more"
    with pytest.raises(UsageError, match=message):
        StripeLearner.check(StripeConfig(stripe_target_macs=0.01), dataclasses.replace(task, pretrained=None))
    with pytest.raises(UsageError, match=message):
        trained(task, tmp_path / "run", stripe_target_macs=0.01)


@pytest.mark.usefixtures("last_form")
@pytest.mark.parametrize("frozen", ["weights", "weights_and_norms"])
def test_shape_only_training_leaves_the_weights_alone(task, tmp_path, frozen):
    seen = {}
    original = learner_module.rebuild.folded

    def look(model, skeletons):
        seen["kernels"] = {name: model.get_layer(name).kernel.numpy() for name in skeletons.of}
        seen["gamma"] = model.get_layer("stem_norm").gamma.numpy()
        seen["skeleton"] = skeletons.of["stem"].numpy()
        return original(model, skeletons)

    learner_module.rebuild.folded = look
    try:
        keras.utils.set_random_seed(stream_seed(open_run(tmp_path / "run"), "stripe"))
        expected = task.build_model()
        trained(task, tmp_path / "run", stripe_freeze_weights=frozen)
    finally:
        learner_module.rebuild.folded = original
    assert len(seen["kernels"]) == 9
    for name, kernel in seen["kernels"].items():
        np.testing.assert_array_equal(kernel, expected.get_layer(name).kernel.numpy())
    assert (seen["gamma"] == 0.5).all() == (frozen == "weights_and_norms")
    assert not (seen["skeleton"] == 1).all()
