import keras
import numpy as np
import pytest

from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.learner import StripeLearner
from secateur.pruning import cost
from tests.training.helpers import open_run


def trained(task, directory, precision="float32", **flags):
    with open_run(directory, precision=precision).open() as run:
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
    striped = sum(macs[name] for name in facts["live_stripes"])
    # The classifier and the projections keep all they have.
    kept = facts["macs_method"] - (sum(macs.values()) - striped)
    assert 0.37 * striped <= kept <= 0.4 * striped
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


def test_without_a_target_the_ratio_is_an_outcome(task, tmp_path):
    """A threshold above every skeleton but the largest: most of the network dies, and what is left is exact."""
    learner = trained(task, tmp_path / "run", stripe_nb_epochs=1.0, stripe_threshold=0.9)
    facts = learner.evaluate()
    assert facts["macs_method"] < 0.7 * cost.macs(task.build_model())
    assert facts["masked_vs_shrunk"] < 1e-4


def test_dead_blocks_leave_the_network(task, tmp_path):
    learner = trained(task, tmp_path / "run", stripe_nb_epochs=1.0, stripe_threshold=50.0)
    names = {layer.name for layer in learner.export().layers}
    assert not names & {f"stage{k}_block1_conv1" for k in (1, 2, 3)}
    assert "stage2_block1_shortcut" in names
    assert np.isfinite(predictions(task, learner.export())).all()


@pytest.mark.parametrize("frozen", ["weights", "weights_and_norms"])
def test_shape_only_training_leaves_the_weights_alone(task, tmp_path, frozen):
    from secateur.learners.stripe import learner as module

    seen = {}
    original = module.rebuild.folded

    def look(model, skeletons):
        seen["kernels"] = {name: model.get_layer(name).kernel.numpy() for name in skeletons.of}
        seen["gamma"] = model.get_layer("stem_norm").gamma.numpy()
        seen["skeleton"] = skeletons.of["stem"].numpy()
        return original(model, skeletons)

    module.rebuild.folded = look
    try:
        keras.utils.set_random_seed(7)
        expected = task.build_model()
        keras.utils.set_random_seed(7)
        trained(task, tmp_path / "run", stripe_freeze_weights=frozen)
    finally:
        module.rebuild.folded = original
    assert len(seen["kernels"]) == 9
    for name, kernel in seen["kernels"].items():
        np.testing.assert_array_equal(kernel, expected.get_layer(name).kernel.numpy())
    assert (seen["gamma"] == 1).all() == (frozen == "weights_and_norms")
    assert not (seen["skeleton"] == 1).all()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"stripe_target_macs": 0.0}, "--stripe_target_macs 0.0: must be above 0"),
        ({"stripe_sr": -1.0}, "--stripe_sr -1.0: must be 0 or more"),
        ({"stripe_ramp": 0.0}, "--stripe_ramp 0.0: must be above 0"),
        ({"stripe_nb_epochs": -1.0}, "--stripe_nb_epochs -1.0: must be 0 or more"),
    ],
)
def test_values_out_of_range(flags, message):
    with pytest.raises(ValueError, match=message):
        StripeConfig(**flags)
