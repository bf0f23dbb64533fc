import signal
import subprocess
import sys
import time

import optuna
import pytest

from tests.tools.helpers import ROOT, load

PLAYED_RUN = ROOT / "tests" / "tools" / "played_run.py"
# The program itself in a process of its own, its runs played.
PROGRAM = """
import sys
sys.path.insert(0, {tools!r})
import search, search_trials
search.HEARTBEAT_SECONDS, search.GRACE_SECONDS = 1, 2
class Played(search_trials.Runs):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._command = [sys.executable, {run!r}, "--stage=fine_tune", "--kind=good", *{more!r}]
search.Runs = Played
sys.argv = ["search.py", *{argv!r}]
search.main()
"""


@pytest.fixture
def search(monkeypatch):
    found = load("search")
    monkeypatch.setattr(found, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(found, "GRACE_SECONDS", 2)

    class Played(found.Runs):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._command = [sys.executable, str(PLAYED_RUN), "--stage=fine_tune", "--kind=good"]

    monkeypatch.setattr(found, "Runs", Played)
    return found


def call(search, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["search.py", "nets/x_run.py", *map(str, arguments)])
    search.main()


def flags(tmp_path, learner="chn-pruned", budget="macs=0.5", trials=1):
    return [f"--learner={learner}", f"--budget={budget}", f"--trials={trials}", f"--study={tmp_path / 'study.db'}"]


def trials_of(tmp_path, name="x_run chn-pruned macs=0.5"):
    return optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path / 'study.db'}").trials


def test_a_study_goes_on_and_says_what_is_best_within_the_budget(search, tmp_path, monkeypatch, capsys):
    for nb_trials in (2, 3, 3):
        call(search, monkeypatch, *flags(tmp_path, trials=nb_trials), "--vary=x=0.5:0.9")
        assert f"{nb_trials} trials finished, 0 stopped early, {nb_trials} within" in capsys.readouterr().out
    values = [trial.value for trial in trials_of(tmp_path)]
    assert len(values) == 3
    # What is over the budget does not count, however accurate; it is shown where nothing else is.
    call(search, monkeypatch, *flags(tmp_path, budget="macs=0.4"), "--vary=x=0.5:0.9")
    head, nearest = capsys.readouterr().out.splitlines()
    assert head == "1 trials finished, 0 stopped early, 0 within the budget (nearest first)"
    assert "at 0.500 of the cost: --x" in nearest


def test_a_study_keeps_its_flags_and_what_it_varies(search, tmp_path, monkeypatch):
    call(search, monkeypatch, *flags(tmp_path), "--vary=x=0.5:0.9", "--", "--nb_epochs_ft=3")
    call(search, monkeypatch, *flags(tmp_path, trials=2), "--vary=x=0.5:0.9", "--", "--nb_epochs_ft=3")
    for others in (["--vary=x=0.5:0.9"], ["--vary=x=0.6|0.7", "--", "--nb_epochs_ft=3"]):
        with pytest.raises(
            SystemExit, match=r"has trials with x=0.5:0.9 -- --nb_epochs_ft=3, not with '?x=.*another --study"
        ):
            call(search, monkeypatch, *flags(tmp_path, trials=3), *others)
    assert len(trials_of(tmp_path)) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_search_that_ends_early_says_why(search, tmp_path, monkeypatch, workers):
    with pytest.raises(SystemExit, match=r"error: trial \d failed"):
        call(
            search,
            monkeypatch,
            *flags(tmp_path, trials=2),
            f"--workers={workers}",
            "--vary=x=0.5:0.9",
            "--vary=code=2:2:int",
        )


def test_each_trial_ends_with_a_line(search, tmp_path, monkeypatch, capsys):
    call(search, monkeypatch, *flags(tmp_path, trials=2), "--vary=x=0.5:0.9")
    lines = [line for line in capsys.readouterr().err.splitlines() if " of 2: " in line]
    assert len(lines) == 2
    for number, (line, trial) in enumerate(zip(lines, trials_of(tmp_path), strict=True), 1):
        used, x = trial.user_attrs["used"], trial.params["x"]
        assert line == f"{number} of 2: {100 * trial.value:.2f} % at {used:.3f} of the cost: --x {x:.3g}"


def test_several_trials_at_a_time_are_as_many_as_asked(search, tmp_path, monkeypatch, capsys):
    call(search, monkeypatch, *flags(tmp_path, trials=5), "--workers=3", "--vary=x=0.5:0.9")
    assert len(trials_of(tmp_path)) == 5
    assert capsys.readouterr().out.count("trials finished") == 1
    with pytest.raises(SystemExit):
        call(search, monkeypatch, *flags(tmp_path, budget="latency=0.5"), "--workers=2")
    assert "--workers 2: runs side by side disturb each other's times" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_trial_that_was_interrupted_goes_on_in_its_folder(search, tmp_path, monkeypatch, number):
    argv = ["nets/x_run.py", *flags(tmp_path, trials=2), "--vary=x=0.5:0.9"]
    text = PROGRAM.format(tools=str(ROOT / "tools"), run=str(PLAYED_RUN), more=["--seconds=20"], argv=argv)
    process = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "study.db.runs" / "x_run_chn-pruned_macs_0.5" / "trial_0" / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == (-number if number == signal.SIGKILL else 1)
    assert ("the same command goes on" in errors) == (number != signal.SIGKILL)
    call(search, monkeypatch, *argv[1:])
    begun, *others = trials_of(tmp_path)
    assert begun.state.name == "FAIL"
    assert [(trial.state.name, trial.user_attrs["folder"]) for trial in others] == [
        ("COMPLETE", "trial_0"),
        ("COMPLETE", "trial_2"),
    ]
    assert others[0].params == begun.params


def test_a_failed_trial_is_named_and_the_search_goes_on(search, tmp_path, monkeypatch, capsys):
    call(search, monkeypatch, *flags(tmp_path, trials=2), "--vary=x=0.5:0.9", "--vary=code=1:1:int")
    assert "trial_1.log says why" in capsys.readouterr().out
    # They count as done.
    # What made them fail may be put right.
    call(search, monkeypatch, *flags(tmp_path, trials=3), "--vary=x=0.5:0.9")
    assert [trial.state.name for trial in trials_of(tmp_path)] == ["FAIL", "FAIL", "COMPLETE"]
    assert "trial_0.log says why" in capsys.readouterr().out


def test_trials_are_stopped_early_only_where_all_meet_the_budget(search, tmp_path):
    for meets_budget, kind in ((True, optuna.pruners.MedianPruner), (False, optuna.pruners.NopPruner)):
        assert isinstance(search.opened(tmp_path / "study.db", f"{meets_budget}", meets_budget).pruner, kind)


def test_studies_of_one_database_keep_their_runs_apart(search, tmp_path, monkeypatch, capsys):
    for learner, budget in (("chn-pruned", "macs=0.5"), ("chn-pruned", "macs=.8"), ("fcf", "macs=0.5")):
        call(search, monkeypatch, *flags(tmp_path, learner, budget), "--vary=x=0.5:0.9")
        assert "1 trials finished" in capsys.readouterr().out
    found = sorted((tmp_path / "study.db.runs").glob("*/trial_0/run/result.json"))
    names = ["x_run_chn-pruned_macs_0.5", "x_run_chn-pruned_macs_0.8", "x_run_fcf_macs_0.5"]
    assert [path.parents[2].name for path in found] == names
    assert all((path.parents[2] / "trial_0.log").is_file() for path in found)
    # A new database knows nothing of what lies there.
    (tmp_path / "study.db").unlink()
    with pytest.raises(SystemExit, match=r"macs_0.5 holds runs that"):
        call(search, monkeypatch, *flags(tmp_path, "fcf"))


def test_the_help_shows_an_example_and_the_forms_of_a_range(search, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        call(search, monkeypatch, "--help")
    assert stopped.value.code == 0
    assert "NAME=LOW:HIGH:log" in (text := capsys.readouterr().out)
    assert "--budget macs=0.5 --trials 12" in text
