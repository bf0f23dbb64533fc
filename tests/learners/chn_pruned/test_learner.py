import dataclasses

import keras
import numpy as np
import pytest

from secateur import export
from secateur.learners.chn_pruned import learner as module
from secateur.learners.chn_pruned.config import ChnPrunedConfig
from secateur.learners.chn_pruned.learner import ChnPrunedLearner
from secateur.pruning import cost
from secateur.training.run import Run
from secateur.utils.errors import UsageError
from tests.pruning import networks
from tests.training.helpers import open_run, tiny_task


def pruned(task, directory, precision="float32", **flags):
    with open_run(directory, precision=precision).open() as run:
        learner = ChnPrunedLearner(ChnPrunedConfig(chn_nb_smpls=32, **flags), task, run)
        learner.train()
    return learner


def widths(model: keras.Model) -> list[int]:
    return [model.get_layer(f"stage{k}_block1_conv1").filters for k in (1, 2, 3)]


@pytest.mark.parametrize("criterion", ["l1", "taylor"])
def test_ratio_is_honoured_and_proved(task, tmp_path, criterion):
    learner = pruned(task, tmp_path / "run", "bfloat16", chn_criterion=criterion)
    assert widths(learner.export()) == [2, 3, 4]
    facts = learner.evaluate()
    assert {name: len(kept) for name, kept in facts["plan"].items()} == {
        f"stage{k}_block1_conv1": k + 1 for k in (1, 2, 3)
    }
    assert 0 <= facts["masked_vs_shrunk"] < 1e-4


def test_the_channels_of_largest_norm_stay(task, tmp_path):
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs_ft=0))
    dense = keras.models.load_model(task.pretrained).get_layer("stage2_block1_conv1").kernel.numpy()
    kept = sorted(np.argsort(-np.abs(dense).sum((0, 1, 2)))[:3])
    found = pruned(task, tmp_path / "run").export().get_layer("stage2_block1_conv1").kernel.numpy()
    np.testing.assert_allclose(found, dense[..., kept], rtol=1e-6)


def test_rounds_scope_and_sparse_training(task, tmp_path):
    learner = pruned(
        task,
        tmp_path / "run",
        chn_scope="all",
        chn_nb_rounds=2,
        chn_criterion="bn",
        chn_bn_l1=0.01,
        chn_target_macs=0.5,
    )
    stages = {path.stem for path in (tmp_path / "run" / "stages").iterdir()}
    assert stages == {"sparse", "prune1", "round1", "prune2", "recalibrate", "fine_tune"}
    share = cost.macs(learner.export()) / cost.macs(task.build_model())
    assert 0.3 < share <= 0.5
    assert learner.export().get_layer("stem").filters < 4


def test_a_sensitivity_scan_is_saved_and_found_by_the_next_target(task, tmp_path, monkeypatch):
    first = pruned(task, tmp_path / "one", chn_ranking="sensitivity", chn_target_macs=0.7)
    assert len(list((tmp_path / "shared").glob("sensitivity_*.json"))) == 1
    monkeypatch.setattr(module, "scan", lambda *_: pytest.fail("scanned twice"))
    second = pruned(task, tmp_path / "two", chn_ranking="sensitivity", chn_target_macs=0.6)
    dense = cost.macs(task.build_model())
    assert cost.macs(second.export()) <= 0.6 * dense
    assert cost.macs(second.export()) <= cost.macs(first.export()) <= 0.7 * dense


@pytest.mark.parametrize(
    ("changes", "index", "flags", "same"),
    [
        ({"recipe": 2}, 1, {"chn_target_macs": 0.3}, True),
        ({"data": "noise, held out"}, 1, {}, False),
        ({"loss": "own"}, 1, {}, False),
        ({}, 1, {"chn_criterion": "l2"}, False),
        ({"recipe": 2}, 1, {"chn_bn_l1": 0.1}, False),
        ({"recipe": 2}, 2, {}, False),
        ({}, 2, {}, True),
    ],
)
def test_a_scan_is_found_again_where_nothing_that_decides_it_has_changed(task, tmp_path, changes, index, flags, same):
    def key(config, **flags):
        return ChnPrunedLearner(ChnPrunedConfig(**flags), task, Run(tmp_path, config))._scan_key(index)

    config = {"start": "weights", "data": "noise", "recipe": 1}
    before = key(config, **({"chn_bn_l1": 0.1} if "chn_bn_l1" in flags else {}))
    assert (key(config | changes, **flags) == before) is same


def test_sparse_training_needs_norms(tmp_path, randomise):
    model = randomise(networks.flattened())
    export.save_keras(model, tmp_path / "dense.keras")
    task = dataclasses.replace(tiny_task(pretrained=tmp_path / "dense.keras"), build_model=networks.flattened)
    with pytest.raises(UsageError, match=r"--chn_bn_l1 0\.1: no group that is pruned has a batch norm"):
        pruned(task, tmp_path / "run", chn_bn_l1=0.1)


def test_the_plan_of_several_rounds_numbers_the_dense_channels(task, tmp_path):
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs_ft=0))
    learner = pruned(task, tmp_path / "run", chn_nb_rounds=2, chn_nb_epochs_round=0.0)
    dense = keras.models.load_model(task.pretrained)
    for name, kept in learner.evaluate()["plan"].items():
        found = learner.export().get_layer(name).kernel.numpy()
        np.testing.assert_allclose(found, dense.get_layer(name).kernel.numpy()[..., kept], rtol=1e-6)


def test_protected_layers_keep_their_inputs_and_outputs(task, tmp_path):
    model = pruned(task, tmp_path / "run", skip_layers="stage1_block1_conv2, stage3*conv1").export()
    assert widths(model) == [4, 3, 8]
    with pytest.raises(UsageError, match="--skip_layers conv9: no layer of resnet8 has such a name"):
        pruned(task, tmp_path / "other", skip_layers="conv9")


def test_nothing_to_prune(task, tmp_path):
    with pytest.raises(UsageError, match=r"no channel group that may be pruned .*logits \(they reach an output"):
        pruned(task, tmp_path / "run", skip_layers="*conv1")


def test_ratio_zero_changes_nothing(task, tmp_path):
    before = keras.models.load_model(task.pretrained).get_weights()
    task = dataclasses.replace(task, load_data=lambda: pytest.fail("the data were read"))
    after = pruned(task, tmp_path / "run", chn_prune_ratio=0.0).export().get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_second_run_only_restores(task, tmp_path, monkeypatch):
    first = pruned(task, tmp_path / "run")
    monkeypatch.setattr(module, "scores_of", lambda *_: pytest.fail("ranked twice"))
    second = pruned(task, tmp_path / "run")
    weights = zip(first.export().get_weights(), second.export().get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)
