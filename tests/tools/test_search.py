import dataclasses
import inspect
import sys

import optuna
import pytest

from secateur.learners import registry
from tests.tools.helpers import load

# Plays a run: accuracy grows with --x, a run of low --x is slow, so that it can be stopped.
FAKE = """
import json, pathlib, sys, time
flags = dict(word[2:].split("=") for word in sys.argv[1:])
x, folder = float(flags["x"]), pathlib.Path(flags["log_dir"]) / "run"
folder.mkdir(parents=True, exist_ok=True)
line = json.dumps({"stage": flags["stage"], "step": 100, "accuracy": x})
(folder / "metrics.jsonl").write_text(line + chr(10))
if x < 0.1:
    time.sleep(60)
row = {"accuracy": x, "macs": 50 if flags.get("kind") == "good" else 80, "latency_ms": {"median": 1.0}}
dense = {"accuracy": 0.9, "macs": 100, "latency_ms": {"median": 2.0}}
(folder / "result.json").write_text(json.dumps({"dense": dense, "pruned": row}))
sys.exit(int(flags.get("code", 0)))
"""


@pytest.fixture(scope="module")
def search():
    return load("search")


def played(search, folder, learner="stripe", stage="stripe"):
    """The trials of a learner, its runs played."""
    found = search.Runs("script", learner, "macs", 0.5, [], folder, folder / "models")
    found._command = [sys.executable, "-c", FAKE, f"--stage={stage}"]
    return found


@pytest.fixture
def runs(search, tmp_path):
    return played(search, tmp_path)


def study_of(values):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    for value in values:
        study.enqueue_trial(value)
    return study


def draw(trial):
    kind = trial.suggest_categorical("kind", ["good", "bad"])
    return {"x": trial.suggest_float("x", 0, 1), "kind": kind}


def test_a_trial_is_a_run_and_its_cost_is_kept(runs, search):
    study = study_of([{"x": 0.7, "kind": "good"}, {"x": 0.8, "kind": "bad"}])
    study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=2)
    first, second = study.trials
    assert (first.value, first.user_attrs["used"]) == (0.7, 0.5)
    assert first.constraints["budget"] < 0
    assert first.user_attrs["lost"] == pytest.approx(0.2)
    assert second.constraints["budget"] > 0.2
    # What is over the budget does not count, however accurate.
    text = search.summary(study)
    assert "2 trials finished, 0 stopped early, 1 within the budget" in text
    assert "70.00 % (20.00 points lost) at 0.500 of the cost: --kind good --x 0.7" in text


@pytest.mark.parametrize(("learner", "stage"), [("stripe", "stripe"), ("fcf", "fine_tune")])
def test_a_trial_that_lags_behind_is_stopped(search, tmp_path, learner, stage):
    runs = played(search, tmp_path, learner, stage)
    study = study_of([{"x": 0.7, "kind": "good"}, {"x": 0.8, "kind": "good"}, {"x": 0.05, "kind": "good"}])
    study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=3)
    assert study.trials[2].state == optuna.trial.TrialState.PRUNED


def test_the_stage_that_is_watched_is_one_of_the_learner(search):
    for learner in search.SPACES:
        stage = search.LAST_STAGES.get(learner, "fine_tune")
        assert f'"{stage}"' in inspect.getsource(inspect.getmodule(registry.find(learner).learner)), learner


def test_a_run_that_fails_ends_the_search_with_its_log(runs):
    runs._command += ["--code=1"]
    study = study_of([{"x": 0.7, "kind": "good"}])
    with pytest.raises(SystemExit, match=r"trial 0 failed, .*trial_0.log says why: --x=0.7 --kind=good"):
        study.optimize(lambda trial: runs(trial, draw(trial)), n_trials=1)


def test_latency_is_measured_against_the_dense_network(search, tmp_path):
    result = {"dense": {"latency_ms": {"median": 2.0}}, "pruned": {"latency_ms": {"median": 1.0}}}
    assert search.Runs("script", "fcf", "latency", 0.6, [], tmp_path, tmp_path)._used(result) == 0.5


def test_a_learner_that_takes_the_budget_gets_it(search, tmp_path):
    command = search.Runs("script", "chn-pruned", "macs", 0.5, ["--seed=1"], tmp_path, tmp_path / "models")._command
    assert "--chn_target_macs=0.5" in command
    assert command[-1] == "--seed=1"
    assert "--enbl_trn_val_split" in command
    assert f"--save_path={tmp_path / 'models'}" in command


def test_what_the_budget_says_is_not_varied(search):
    assert not any("stripe_target_macs" in text for text in search.spaces("stripe", "macs"))
    assert any("stripe_target_macs" in text for text in search.spaces("stripe", "latency"))
    assert search.spaces("fbs", "macs") == search.SPACES["fbs"]
    for (learner, kind), flag in search.TARGETS.items():
        names = [field.name for field in dataclasses.fields(registry.find(learner).config)]
        assert flag in names, (learner, kind)


def test_the_forms_of_a_setting(search):
    trial = optuna.trial.FixedTrial({"a": 0.1, "b": 3, "c": "y", "d": 0.5})
    drawn = dict(search.parsed(text) for text in ("a=0.01:1:log", "b=1:5:int", "c=x|y", "d=0:1"))
    assert {name: take(trial) for name, take in drawn.items()} == {"a": 0.1, "b": 3, "c": "y", "d": 0.5}
    for wrong in ("a", "a=1", "a=1:2:exp", "a=low:high"):
        with pytest.raises(SystemExit, match=f"--vary {wrong}: must be NAME=LOW:HIGH"):
            search.parsed(wrong)


def test_a_study_goes_on_where_it_stopped(search, tmp_path, monkeypatch):
    calls = []

    class Played:
        def __init__(self, *_):
            pass

        def __call__(self, trial, values):
            calls.append(trial.number)
            trial.set_constraint("budget", 0.0)
            trial.set_user_attr("used", 0.5)
            trial.set_user_attr("lost", 0.0)
            return values["lrn_rate_ft"]

    monkeypatch.setattr(search, "Runs", Played)
    for trials in ("2", "3"):
        argv = ["search.py", "nets/x_run.py", "--learner=fbs", "--vary=lrn_rate_ft=0.1:0.2", "--trials", trials]
        monkeypatch.setattr(sys, "argv", [*argv, f"--study={tmp_path / 'study.db'}", "--", "--seed=3"])
        search.main()
    assert calls == [0, 1, 2]
    assert search._alone(["a", "--workers=4", "--", "b"]) == ["a", "--workers=4", "--workers=1", "--", "b"]


def call(search, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["search.py", "nets/x_run.py", *map(str, arguments)])
    search.main()


def test_studies_of_one_database_keep_their_runs_apart(search, tmp_path, monkeypatch, capsys):
    class Played(search.Runs):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._command = [sys.executable, "-c", FAKE, "--stage=fine_tune", "--kind=good"]

    monkeypatch.setattr(search, "Runs", Played)
    study = tmp_path / "study.db"
    for learner, budget in (("chn-pruned", "macs=0.5"), ("chn-pruned", "macs=.8"), ("fcf", "macs=0.5")):
        flags = ("--learner", learner, "--budget", budget, "--vary=x=0.5:0.9", "--trials=1", "--study", study)
        call(search, monkeypatch, *flags)
        assert "1 trials finished" in capsys.readouterr().out
    found = sorted((tmp_path / "study.db.runs").glob("*/trial_0/run/result.json"))
    names = ["x_run_chn-pruned_macs_0.5", "x_run_chn-pruned_macs_0.8", "x_run_fcf_macs_0.5"]
    assert [path.parents[2].name for path in found] == names
    assert all((path.parents[2] / "trial_0.log").is_file() for path in found)
    # A new database knows nothing of what lies there.
    study.unlink()
    with pytest.raises(SystemExit):
        call(search, monkeypatch, *flags)
    assert "macs_0.5 holds runs that" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["macs=half", "macs=0", "macs=1.5", "macs=nan", "macs", "bytes=0.5"])
def test_a_budget_that_is_none_is_named(search, monkeypatch, capsys, text):
    with pytest.raises(SystemExit) as stopped:
        call(search, monkeypatch, "--learner=fcf", f"--budget={text}")
    assert stopped.value.code == 2
    assert f"--budget: {text}: must be macs=SHARE or latency=SHARE" in capsys.readouterr().err
