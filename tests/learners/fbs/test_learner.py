import dataclasses

import keras
import numpy as np
import pytest

from secateur.export import forms, save_keras
from secateur.learners.fbs import gated
from secateur.learners.fbs.config import FbsConfig
from secateur.learners.fbs.learner import FbsLearner
from secateur.pruning import cost, shrink
from secateur.training.pretrained import load_pretrained
from secateur.utils.errors import RunError, UsageError
from tests.training.helpers import open_run


def trained(task, directory, precision="float32", **flags):
    with open_run(directory, precision=precision).open() as run:
        learner = FbsLearner(FbsConfig(**({"fbs_density_step": 0.25} | flags)), task, run)
        learner.train()
    return learner


@pytest.mark.parametrize(("precision", "normalize"), [("float32", "paper"), ("bfloat16", "sum")])
def test_the_stages_and_what_they_leave(task, tmp_path, precision, normalize):
    learner = trained(task, tmp_path / "run", precision, fbs_density=0.5, fbs_normalize=normalize)
    stages = {path.stem for path in (tmp_path / "run" / "stages").iterdir()}
    assert stages == {"calibrate", "warm_up", "density_0.75", "fine_tune", "forms"}
    facts, dense = learner.evaluate(), cost.macs(task.build_model())
    assert 0.2 * dense < facts["macs_method"] < 0.7 * dense
    assert facts["macs_quantiles"]["least"] <= facts["macs_quantiles"]["median"] <= facts["macs_quantiles"]["most"]
    assert facts["masked_vs_shrunk"] < 1e-4
    assert facts["masked_vs_shrunk_flips"] <= 0.005
    assert learner.margins(task.load_data().test_images.astype(np.float32)).shape == (
        len(task.load_data().test_images),
    )
    costs = facts["layer_costs"]
    assert sum(row["macs"] for row in costs.values()) == pytest.approx(facts["macs_method"])
    assert costs["stage2_block1_conv1"]["ms"] > 0
    assert "ms" not in costs["logits"]
    pictures = task.load_data().test_images[:1].astype(np.float32)
    expected = np.asarray(learner.export()(pictures, training=False))
    np.testing.assert_allclose(learner.export_lite()(pictures), expected, atol=1e-3 * np.abs(expected).max())
    for name in ("fired.svg", "macs.svg"):
        assert "<rect" in (tmp_path / "run" / name).read_text()
    assert 'fill="#1f6f43"' in (tmp_path / "run" / "fired.svg").read_text()


@pytest.mark.usefixtures("last_form")
def test_gates_may_be_inside_blocks_alone(task, tmp_path):
    """The second convolution of a block has none, and reads in the file what the gate before it left."""
    learner = trained(task, tmp_path / "run", fbs_density=0.25, fbs_scope="block")
    facts = learner.evaluate()
    assert set(facts["dynamic_share"]) == {f"stage{k}_block1_conv1_gated" for k in (1, 2, 3)}
    assert set(facts["forms"]) == {f"stage{k}_block1_{name}" for k in (1, 2, 3) for name in ("conv1_gated", "conv2")}
    counted = facts["layers"]["stage3_block1_conv2"]
    assert counted["macs"] == pytest.approx(0.25 * counted["dense_macs"])
    picture = task.load_data().test_images[:1].astype(np.float32)
    expected = np.asarray(learner.export()(picture, training=False))
    np.testing.assert_allclose(learner.export_lite()(picture), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.usefixtures("last_form")
def test_the_warm_up_trains_the_predictors_alone(task, tmp_path):
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs_ft=0))
    learner = trained(task, tmp_path / "run", fbs_density=1.0, fbs_nb_epochs_warm_up=2.0, fbs_nb_epochs_step=0.0)
    dense = load_pretrained(task)
    kernel = learner.export().get_layer("stage2_block1_conv1").kernel.numpy()
    np.testing.assert_array_equal(kernel, dense.get_layer("stage2_block1_conv1").kernel.numpy())
    predictor = learner.export().get_layer("stage2_block1_conv1_gated_predictor")
    assert not np.allclose(predictor.bias.numpy(), 1.0)


@pytest.mark.usefixtures("last_form")
def test_pictures_differ_in_what_they_compute(task, tmp_path, capsys):
    """After training: else a static method would have done."""
    learner = trained(task, tmp_path / "run", fbs_density=0.5, fbs_nb_epochs_warm_up=2.0)
    shares = list(learner.evaluate()["dynamic_share"].values())
    assert len(shares) == 9
    assert np.mean(shares) > 0.2
    assert f"in {shares.count(0.0)} of 9 layers the same channels win for every picture" in capsys.readouterr().err


@pytest.mark.usefixtures("last_form")
def test_a_file_in_eight_bits_may_have_dense_gates(task, tmp_path, monkeypatch):
    pictures = task.load_data().test_images.astype(np.float32)
    learner = trained(task, tmp_path / "run", fbs_density=0.5)
    monkeypatch.setattr(forms, "milliseconds", lambda found, *_: {name: k for k, name in enumerate(found)})
    dense, skipping = learner.export_lite(pictures), learner.export_lite()
    assert len(dense.layers) < len(skipping.layers)
    np.testing.assert_allclose(dense(pictures[:1]), skipping(pictures[:1]), atol=1e-3)
    assert learner.evaluate()["int8_whole"] == {"dense": 0, "chosen": 1}


@pytest.mark.usefixtures("last_form")
def test_it_starts_from_a_network_that_another_learner_shrank(task, tmp_path):
    small = shrink(load_pretrained(task), {"stage2_block1_conv1": [0, 2, 5]})
    save_keras(small, tmp_path / "small.keras")
    learner = trained(task, tmp_path / "run", warm_start=str(tmp_path / "small.keras"))
    assert learner.export().get_layer("stage2_block1_conv1").filters == 3
    assert learner.evaluate()["macs_method"] < cost.macs(small)


def test_predictors_begin_alike_whatever_was_drawn_before(task, tmp_path, randomise):
    """As in a process that was started again; dropout would tell one from the other."""

    def dropping() -> keras.Model:
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
        x = keras.layers.Conv2D(4, 3)(keras.layers.Dropout(0.5)(x))
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x)))

    found = []
    for k in range(2):
        keras.utils.set_random_seed(k)
        with open_run(tmp_path / str(k)).open() as run:
            learner = FbsLearner(FbsConfig(), task, run)
            learner._model = gated.gated(randomise(dropping()), 1.0, "sum", 0.0)
            learner._calibrate(task.load_data())
        found.append([gate.phi.numpy() for gate in gated.gate_layers(learner._model)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.any()


def plain(size=8, nb_classes=3) -> keras.Model:
    inputs = keras.Input((size, size, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(nb_classes)(x), name="plain")


def test_a_network_without_norms_cannot_be_gated(task, tmp_path):
    message = "none of the 1 Conv2D layers of plain can be gated: one needs a BatchNormalization that alone reads it"
    save_keras(plain(), tmp_path / "plain.keras")
    with pytest.raises(UsageError, match=message):
        FbsLearner.check(FbsConfig(warm_start=str(tmp_path / "plain.keras")), task)
    with pytest.raises(UsageError, match=message):
        FbsLearner.check(FbsConfig(), dataclasses.replace(task, build_model=plain))
    assert FbsLearner.check(FbsConfig(), task) is None


def test_a_network_without_blocks_that_is_to_be_gated_inside_them(task):
    def mixed() -> keras.Model:
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(1, 3, padding="same")(inputs))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([x, inputs]))
        return keras.Model(inputs, keras.layers.Dense(3)(x), name="mixed")

    task = dataclasses.replace(task, build_model=mixed)
    assert FbsLearner.check(FbsConfig(), task) is None
    with pytest.raises(
        UsageError, match="mixed has no convolution inside a block that can be gated; choose --fbs_scope"
    ):
        FbsLearner.check(FbsConfig(fbs_scope="block"), task)


@pytest.mark.parametrize("shape", [{"size": 9}, {"nb_classes": 2}, {"nb_classes": 4}])
def test_a_warm_start_for_other_pictures_or_classes_is_refused(task, tmp_path, shape):
    save_keras(plain(**shape), tmp_path / "plain.keras")
    with pytest.raises(UsageError, match=r"plain\.keras: goes from .*resnet8_at_noise from \(8, 8, 1\) to \(3,\)"):
        FbsLearner.check(FbsConfig(warm_start=str(tmp_path / "plain.keras")), task)


def test_a_warm_start_that_is_no_model(task, tmp_path):
    with pytest.raises(ValueError, match=r"--warm_start none\.keras: no such file"):
        FbsConfig(warm_start="none.keras")
    (tmp_path / "bad.keras").write_text("x")
    with pytest.raises(RunError, match=r"bad\.keras is not a readable"):
        FbsLearner.check(FbsConfig(warm_start=str(tmp_path / "bad.keras")), task)


@pytest.mark.parametrize(
    ("flags", "densities"),
    [({}, [0.9, 0.8, 0.7, 0.6, 0.5]), ({"fbs_density": 0.65}, [0.9, 0.8, 0.7, 0.65]), ({"fbs_density": 1.0}, [1.0])],
)
def test_densities_fall_in_steps(flags, densities):
    assert FbsConfig(**flags).densities() == densities


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"fbs_density": 0.0}, "--fbs_density 0.0: must be above 0"),
        ({"fbs_density_step": 2.0}, "--fbs_density_step 2.0"),
        ({"fbs_l1": -1.0}, "--fbs_l1 -1.0: must be 0 or more"),
    ],
)
def test_values_out_of_range(flags, message):
    with pytest.raises(ValueError, match=message):
        FbsConfig(**flags)
