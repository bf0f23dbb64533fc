import dataclasses
import functools

import keras
import numpy as np
import pytest

from secateur.datasets.arrays import take
from secateur.export import EquivalenceError, save_keras, shrunk
from secateur.learners.dis_chn_pruned import learner as module
from secateur.learners.dis_chn_pruned.config import DisChnPrunedConfig
from secateur.learners.dis_chn_pruned.learner import DisChnPrunedLearner
from secateur.nets.resnet import resnet
from secateur.pruning import shrink
from secateur.utils.errors import UsageError
from tests.pruning import networks
from tests.training.helpers import open_run, tiny_task


def pruned(task, directory, precision="float32", **flags):
    with open_run(directory, precision=precision).open() as run:
        learner = DisChnPrunedLearner(
            DisChnPrunedConfig(**({"dcp_nb_stages": 1, "dcp_nb_smpls": 32} | flags)), task, run
        )
        learner.train()
    return learner


def widths(model: keras.Model) -> list[int]:
    return [model.get_layer(f"stage{k}_block1_conv1").filters for k in (1, 2, 3)]


@pytest.mark.parametrize(("selection", "nb_stages"), [("add", 2), ("remove", 1)])
def test_ratio_is_honoured_in_every_block(task, tmp_path, selection, nb_stages):
    flags = {"dcp_selection": selection, "dcp_nb_stages": nb_stages}
    learner = pruned(task, tmp_path / "run", "bfloat16", dcp_prune_ratio=0.5, **flags)
    assert widths(learner.export()) == [2, 3, 4]
    facts = learner.evaluate()
    assert {name: len(kept) for name, kept in facts["plan"].items()} == {
        f"stage{k}_block1_conv1": k + 1 for k in (1, 2, 3)
    }
    assert 0 <= facts["masked_vs_shrunk"] < 1e-4


def test_scope_all_halves_the_input_of_every_convolution(task, tmp_path, randomise):
    # In the second block of the last stage a convolution and the classifier read the same channels.
    build = functools.partial(resnet, (8, 8, 1), 3, 14, widths=(4, 6, 8))
    save_keras(randomise(build()), task.pretrained)
    task = dataclasses.replace(task, build_model=build)
    model = pruned(task, tmp_path / "run", "bfloat16", dcp_prune_ratio=0.5, dcp_scope="all").export()
    read = {layer.name: layer.kernel.shape[2] for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    dense = keras.models.load_model(task.pretrained)
    assert model.get_layer("logits").kernel.shape[0] == 4
    for name, channels in read.items():
        assert channels == (1 if name == "stem" else dense.get_layer(name).kernel.shape[2] // 2)


@pytest.mark.parametrize(("eps", "least", "most"), [(1e9, [1, 1, 1], [1, 1, 1]), (1e-12, [3, 4, 6], [4, 6, 8])])
def test_with_an_adaptive_stop_the_width_is_an_outcome(task, tmp_path, eps, least, most):
    found = widths(pruned(task, tmp_path / "run", dcp_adaptive_eps=eps, dcp_prune_ratio=0.0).export())
    # The last channels may be dead ones, which change nothing.
    assert all(low <= width <= high for low, width, high in zip(least, found, most, strict=True))


def test_without_fine_tuning_the_statistics_are_the_shrunk_networks_own(task, tmp_path):
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs_ft=0))
    learner = pruned(task, tmp_path / "run", dcp_prune_ratio=0.5)
    stages = {path.stem for path in (tmp_path / "run" / "stages").iterdir()}
    assert {"recalibrate", "fine_tune"} <= stages
    before = learner.export().get_layer("stage3_block1_conv2_norm").moving_mean.numpy()
    images = np.concatenate([x for x, _ in take(task.load_data().train_batches(16, 1), 20)])
    tensor = learner.export().get_layer("stage3_block1_conv2").output
    features = keras.Model(learner.export().input, tensor)(images)
    np.testing.assert_allclose(before, np.mean(features, (0, 1, 2)), atol=0.2 * np.std(features))


def test_a_network_without_a_group_for_it_is_refused(tmp_path, randomise):
    save_keras(randomise(networks.flattened()), tmp_path / "dense.keras")
    task = dataclasses.replace(tiny_task(pretrained=tmp_path / "dense.keras"), build_model=networks.flattened)
    with pytest.raises(
        UsageError, match=r"flattened has no channel group that dis-chn-pruned may prune.*logits \(they"
    ):
        pruned(task, tmp_path / "run", dcp_nb_stages=None)


def test_ratio_zero_changes_nothing_bit_for_bit_and_searches_nothing(task, tmp_path):
    before = keras.models.load_model(task.pretrained).get_weights()
    task = dataclasses.replace(task, load_data=lambda: pytest.fail("the data were read"))
    after = pruned(task, tmp_path / "run", dcp_prune_ratio=0.0).export().get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_ratio_one_leaves_the_shortcuts(task, tmp_path):
    model = pruned(task, tmp_path / "run", dcp_prune_ratio=1.0).export()
    convolutions = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert convolutions == ["stem", "stage2_block1_shortcut", "stage3_block1_shortcut"]


def test_ratio_one_on_a_chain_is_refused(tmp_path, randomise):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", name="b")(keras.layers.ReLU()(x))
    x = keras.layers.Conv2D(4, 3, padding="same", name="c")(keras.layers.ReLU()(x))
    outputs = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    model = randomise(keras.Model(inputs, outputs))
    save_keras(model, tmp_path / "dense.keras")
    task = tiny_task(pretrained=tmp_path / "dense.keras")
    task = dataclasses.replace(task, build_model=lambda: keras.models.clone_model(model))
    with pytest.raises(UsageError, match=r"--dcp_prune_ratio 1.0 would remove all 4 channels of a, .*below 1"):
        pruned(task, tmp_path / "run", dcp_prune_ratio=1.0)
    assert pruned(task, tmp_path / "run", dcp_prune_ratio=0.5).export().get_layer("a").filters == 2


def test_the_gate_stops_a_wrong_slice(task, tmp_path, monkeypatch):
    def wrong(model, keep):
        return shrink(model, {name: _moved(kept) for name, kept in keep.items()})

    monkeypatch.setattr(shrunk, "shrink", wrong)
    with pytest.raises(EquivalenceError, match="masked and shrunk model after prune1 differ"):
        pruned(task, tmp_path / "run", dcp_prune_ratio=0.5)


def _moved(kept: list[int]) -> list[int]:
    """As many channels, the last one exchanged for a neighbour that ought to go."""
    spare = next(k for k in range(max(kept) + 2) if k not in kept)
    return sorted([*kept[:-1], spare])


def test_a_second_run_only_restores(task, tmp_path, monkeypatch):
    first = pruned(task, tmp_path / "run", dcp_prune_ratio=0.5)
    monkeypatch.setattr(module, "select_channels", lambda *_: pytest.fail("searched twice"))
    monkeypatch.setattr(module, "fit", lambda *_: pytest.fail("trained twice"))
    second = pruned(task, tmp_path / "run", dcp_prune_ratio=0.5)
    assert second.evaluate() == first.evaluate()
    weights = zip(first.export().get_weights(), second.export().get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)
