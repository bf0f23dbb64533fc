import json

import keras
import numpy as np
import pytest

from secateur.learners.fcf import learner as module
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.learner import FcfLearner
from secateur.pruning import cost
from secateur.training import train
from secateur.training.loop import Stopped
from secateur.utils.errors import RunError
from tests.training.helpers import open_run

FAST = {"fcf_nb_epochs": 40.0, "fcf_nb_epochs_ft": 1.0}


def trained(task, directory, precision="float32", **flags):
    with open_run(directory, precision=precision).open() as run:
        learner = FcfLearner(FcfConfig(**(FAST | flags)), task, run)
        learner.train()
    return learner


@pytest.mark.parametrize(("solver", "precision"), [("bisection", "bfloat16"), ("osqp", "float32")])
def test_group_scope_gives_a_plain_smaller_network(task, tmp_path, solver, precision):
    learner = trained(task, tmp_path / "run", precision, fcf_solver=solver, fcf_prune_ratio=0.5)
    facts, model = learner.evaluate(), learner.export()
    assert {
        layer: model.get_layer(layer).filters for layer in ("stem", "stage2_block1_conv1", "stage3_block1_conv2")
    } == {
        "stem": 2,
        "stage2_block1_conv1": 3,
        "stage3_block1_conv2": 4,
    }
    assert all(len(facts["plan"][name]) == model.get_layer(name).filters for name in facts["plan"])
    assert facts["masked_vs_shrunk"] < 1e-4
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "distance/stem" in line][-1]
    assert last["distance/stem"] < 0.1
    for name in ("scalars.svg", "kept.svg"):
        assert "stage3_block1_conv1" in (tmp_path / "run" / name).read_text()
    assert set(facts["before_fine_tuning"]) == {"accuracy"}


def test_filter_scope_gives_the_squeezed_network(task, tmp_path, monkeypatch):
    learner = trained(task, tmp_path / "run", fcf_scope="filter", fcf_prune_ratio=0.5)
    facts, model = learner.evaluate(), learner.export()
    assert facts["kept_filters"] == {f"stage{s}_block1_conv{k}": s + 1 for s in (1, 2, 3) for k in (1, 2)}
    assert facts["macs_method"] < 0.5 * cost.macs(task.build_model())
    assert facts["masked_vs_shrunk"] < 1e-4
    assert set(facts["before_fine_tuning"]) == {"accuracy", "accuracy_unsqueezed"}
    assert set(facts["forms"]) == {f"stage{s}_block1_conv2" for s in (1, 2, 3)} | {
        "stage2_block1_conv1",
        "stage3_block1_conv1",
    }
    assert model.get_layer("stage1_block1_conv1").filters == 2
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    # The same training, all that can be squeezed and expanded as such: what a shortcut brings, what it passes on.
    monkeypatch.setattr(train, "fit", lambda *_: pytest.fail("fine-tuned again"))
    learner = trained(task, tmp_path / "other", fcf_scope="filter", fcf_prune_ratio=0.5, fcf_form="squeeze")
    expected = {f"stage{s}_block1_conv2": "expand" for s in (1, 2, 3)}
    assert learner.evaluate()["forms"] == expected | {f"stage{s}_block1_conv1": "squeeze" for s in (2, 3)}
    assert learner.evaluate()["masked_vs_shrunk"] < 1e-4
    assert any(layer.name == "stage2_block1_conv1_squeeze" for layer in learner.export().layers)


def test_stages_can_be_run_one_at_a_time(task, tmp_path, monkeypatch):
    first = trained(task, tmp_path / "first", fcf_nb_epochs_ft=0.0)
    monkeypatch.setattr(module, "admm_step", lambda *_: lambda *_: pytest.fail("trained the scalars again"))
    second = trained(task, tmp_path / "second", fcf_nb_epochs_ft=1.0)
    assert (tmp_path / "second" / "scalars.svg").read_text() == (tmp_path / "first" / "scalars.svg").read_text()
    assert second.evaluate()["plan"] == first.evaluate()["plan"]
    assert second.evaluate()["before_fine_tuning"] == first.evaluate()["before_fine_tuning"]
    kernels = [learner.export().get_layer("stem").kernel.numpy() for learner in (first, second)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


def test_scalars_that_stay_undecided_are_an_error(task, tmp_path):
    with pytest.raises(RunError, match=r"stem: after 3 steps a scalar is .* give more --fcf_nb_epochs"):
        trained(task, tmp_path / "run", fcf_nb_epochs=1.0)


@pytest.mark.parametrize(
    ("flags", "kept"),
    # The form is given, because a choice by measuring may differ from run to run.
    [({"fcf_scope": "group"}, "plan"), ({"fcf_scope": "filter", "fcf_form": "squeeze"}, "kept_filters")],
)
def test_a_kill_in_the_joint_training_keeps_the_scalars(task, tmp_path, flags, kept):
    """Stopped after step 30 and started again: the same kept filters and weights as in one go."""
    whole = trained(task, tmp_path / "one" / "whole", **flags)
    run = open_run(tmp_path / "other" / "parts", save_step=10)
    log = run.log

    def stop_at_30(stage, step, metrics):
        log(stage, step, metrics)
        run.stop_requested = step >= 30

    run.log = stop_at_30
    with run.open(), pytest.raises(Stopped):
        FcfLearner(FcfConfig(**FAST, **flags), task, run).train()
    parts = trained(task, tmp_path / "other" / "parts", **flags)
    assert parts.evaluate()[kept] == whole.evaluate()[kept]
    for a, b in zip(parts.export().get_weights(), whole.export().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_ratio_0_leaves_the_network_alone(task, tmp_path, capsys):
    learner = trained(task, tmp_path / "run", fcf_prune_ratio=0.0)
    assert "removes no filter" in capsys.readouterr().err
    dense = keras.models.load_model(task.pretrained)
    assert all(np.array_equal(a, b) for a, b in zip(learner.export().get_weights(), dense.get_weights(), strict=True))
    assert learner.evaluate() == {}
