import argparse
import dataclasses
import inspect
import pathlib
import sys

import optuna
import pytest

from secateur.learners import registry
from tests.tools.helpers import load

PLAYED_RUN = pathlib.Path(__file__).with_name("played_run.py")


@pytest.fixture(scope="module")
def trials():
    return load("search_trials")


def played(trials, folder, learner="stripe", stage="stripe"):
    """The trials of a learner, its runs played."""
    found = trials.Runs("script", learner, "macs", 0.5, [], folder, folder / "models")
    found._command = [sys.executable, str(PLAYED_RUN), f"--stage={stage}"]
    return found


@pytest.fixture
def runs(trials, tmp_path):
    return played(trials, tmp_path)


def study_of(values):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    for value in values:
        study.enqueue_trial(value)
    return study


def draw(trial):
    kind = trial.suggest_categorical("kind", ["good", "bad"])
    return {"x": trial.suggest_float("x", 0, 1), "kind": kind}


def test_a_trial_is_a_run_and_its_cost_is_kept(runs):
    study = study_of([{"x": 0.7, "kind": "good"}, {"x": 0.8, "kind": "bad"}])
    study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=2)
    first, second = study.trials
    assert (first.value, first.user_attrs["used"], first.user_attrs["folder"]) == (0.7, 0.5, "trial_0")
    assert first.constraints["budget"] == 0
    assert first.user_attrs["lost"] == pytest.approx(0.2)
    assert second.constraints["budget"] == pytest.approx(0.3)


@pytest.mark.parametrize(("learner", "stage"), [("stripe", "stripe"), ("fcf", "fine_tune")])
def test_a_trial_that_lags_behind_is_stopped(trials, tmp_path, learner, stage):
    runs = played(trials, tmp_path, learner, stage)
    study = study_of([{"x": 0.7, "kind": "good"}, {"x": 0.8, "kind": "good"}, {"x": 0.05, "kind": "good"}])
    study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=3)
    assert study.trials[2].state == optuna.trial.TrialState.PRUNED


def test_the_stage_that_is_watched_is_one_of_the_learner(trials):
    for learner in trials.SPACES:
        stage = trials.LAST_STAGES.get(learner, "fine_tune")
        assert f'"{stage}"' in inspect.getsource(inspect.getmodule(registry.find(learner).learner)), learner


def test_a_run_that_fails_is_a_failed_trial_and_three_in_a_row_end_the_search(trials, runs):
    runs._command += ["--code=1"]
    study = study_of([{"x": 0.7, "kind": "good"}] * 3)
    with pytest.raises(trials.SearchStopped, match=r"trial 2 failed, .*trial_2.log says why: --x=0.7 --kind=good"):
        study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=5, catch=trials.RunFailed)
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 3
    assert all("says why" in trial.user_attrs["failed"] for trial in study.trials)


def test_a_command_that_cannot_be_carried_out_ends_the_search(trials, runs):
    runs._command += ["--code=2"]
    study = study_of([{"x": 0.7, "kind": "good"}])
    with pytest.raises(trials.SearchStopped, match="trial 0 failed"):
        study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=5, catch=trials.RunFailed)


def test_a_search_that_is_asked_to_stop_ends_its_runs(trials, runs):
    runs._command += ["--seconds=60"]
    runs.stop.set()
    study = study_of([{"x": 0.7, "kind": "good"}])
    with pytest.raises(trials.SearchStopped, match="the same command goes on"):
        study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=1)
    # It is to be carried out again, so it did not fail.
    assert "failed" not in study.trials[0].user_attrs


def test_latency_is_measured_against_the_dense_network(trials, tmp_path):
    result = {"dense": {"latency_ms": {"median": 2.0}}, "pruned": {"latency_ms": {"median": 1.0}}}
    assert trials.Runs("script", "fcf", "latency", 0.6, [], tmp_path, tmp_path)._used(result) == 0.5


def test_a_learner_that_takes_the_budget_gets_it(trials, tmp_path):
    command = trials.Runs("script", "chn-pruned", "macs", 0.5, ["--seed=1"], tmp_path, tmp_path / "models")._command
    assert "--chn_target_macs=0.5" in command
    assert command[-1] == "--seed=1"
    assert "--enbl_trn_val_split" in command
    assert f"--save_path={tmp_path / 'models'}" in command


def test_what_is_varied_are_flags_and_not_what_the_budget_says(trials):
    # Of fine-tuning, for all learners alike.
    common = {"lrn_rate_ft"}
    for learner, space in trials.SPACES.items():
        flags = {field.name for field in dataclasses.fields(registry.find(learner).config)}
        varied = {text.partition("=")[0] for text in space}
        targets = {flag for (name, _), flag in trials.TARGETS.items() if name == learner}
        assert varied - common <= flags, learner
        assert targets <= flags - varied, learner


def test_the_forms_of_a_setting(trials):
    trial = optuna.trial.FixedTrial({"a": 0.1, "b": 3, "c": "y", "d": 0.5})
    drawn = dict(trials.parsed(text) for text in ("a=0.01:1:log", "b=1:5:int", "c=x|y", "d=0:1"))
    assert {name: take(trial) for name, take in drawn.items()} == {"a": 0.1, "b": 3, "c": "y", "d": 0.5}
    for wrong in ("a", "a=1", "a=1:2:exp", "a=low:high", "a=0:1:log", "a=2:1", "a=2:1:int", "a=nan:1"):
        with pytest.raises(SystemExit, match=f"--vary {wrong}: must be NAME=LOW:HIGH"):
            trials.parsed(wrong)


@pytest.mark.parametrize("text", ["macs=half", "macs=0", "macs=1.5", "macs=nan", "macs", "bytes=0.5"])
def test_a_budget_that_is_none_is_named(trials, text):
    assert trials.budget("latency=0.6") == ("latency", 0.6)
    with pytest.raises(argparse.ArgumentTypeError, match=f"{text}: must be macs=SHARE or latency=SHARE"):
        trials.budget(text)
