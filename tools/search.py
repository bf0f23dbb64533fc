"""Looks for the settings of a learner that lose least within a budget, on held-out training pictures.

    .venv/bin/python tools/search.py nets/resnet_at_digits_run.py --learner chn-pruned --budget macs=0.5 --trials 12

Every trial is a run of the script with --enbl_trn_val_split. Where the learner takes the budget of MACs itself, a trial
whose training lags behind the others is stopped; else none is, as those over the budget would be ahead.
The study lies in --study (SQLite): the same command goes on where it stopped, in the middle of a trial too, several of
them at once share the work, and --workers carries out several trials. A run that fails is a failed trial; three in a
row end the search. Script, learner and budget make a study of their own, whose runs lie beside the database
in <study>.runs/<script>_<learner>_<budget>. With --vary one chooses what is varied, and what follows -- is passed to
every run; both stay the same in a study. Forms of --vary: NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=LOW:HIGH:int,
NAME=A|B|C.
"""

import argparse
import contextlib
import functools
import pathlib
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator

import optuna
from optuna.trial import TrialState
from search_trials import SPACES, TARGETS, RunFailed, Runs, SearchStopped, budget, parsed

# Of a trial's sign of life, and after how long without one it counts as dead.
HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 15


def main() -> None:
    args, passed = arguments()
    kind, share = args.budget
    names = (pathlib.Path(args.script).stem, args.learner, f"{kind}={share:g}")
    folder = args.study.with_name(f"{args.study.name}.runs") / "_".join(names).replace("=", "_")
    study = opened(args.study, " ".join(names), kind == "macs" and (args.learner, kind) in TARGETS)
    if folder.exists() and not study.trials:
        sys.exit(f"error: {folder} holds runs that {args.study} does not know: remove it, or name another --study")
    run = Runs(args.script, args.learner, kind, share, passed, folder, args.study.parent / "models")
    varied = args.vary or SPACES[args.learner]
    space = [parsed(text) for text in varied]
    check_alike(study, [*varied, "--", *passed], args.study)
    take_up(study)
    try:
        with stopping(run.stop):
            study.optimize(
                lambda trial: run(trial, {name: draw(trial) for name, draw in space}),
                n_trials=max(args.trials - nb_done(study), 0),
                n_jobs=args.workers,
                catch=RunFailed,
                callbacks=[functools.partial(after_trial, args.trials)],
            )
    except SearchStopped:
        pass
    finally:
        print(summary(study))
    if run.reason:
        sys.exit(run.reason)


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """The command line's, and what it passes to every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", help="nets/<network>_at_<data>_run.py")
    parser.add_argument("--learner", choices=SPACES, required=True, help="whose settings")
    parser.add_argument(
        "--budget",
        type=budget,
        default="macs=0.5",
        help="macs=SHARE or latency=SHARE of the dense network's (macs=0.5)",
    )
    parser.add_argument("--vary", action="append", help="a setting and its range; may be given several times")
    parser.add_argument("--trials", type=int, default=20, help="of the study in all, finished ones included (20)")
    parser.add_argument("--workers", type=int, default=1, help="trials at the same time (1)")
    parser.add_argument(
        "--study", type=pathlib.Path, default=pathlib.Path("logs/search/study.db"), help="its database (%(default)s)"
    )
    own, passed = sys.argv[1:], []
    if "--" in own:
        own, passed = own[: own.index("--")], own[own.index("--") + 1 :]
    args = parser.parse_args(own)
    if args.workers > 1 and args.budget[0] == "latency":
        parser.error(
            f"--workers {args.workers}: runs side by side disturb each other's times; with latency leave it at 1"
        )
    return args, passed


def opened(path: pathlib.Path, name: str, meets_budget: bool) -> optuna.Study:
    """The study of this name; its trials may be stopped early if all of them meet the budget."""
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna.create_study(
        study_name=name,
        storage=optuna.storages.RDBStorage(
            f"sqlite:///{path}", heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS
        ),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4) if meets_budget else optuna.pruners.NopPruner(),
    )


def check_alike(study: optuna.Study, settings: list[str], path: pathlib.Path) -> None:
    """Exit where the study's trials varied other settings or were passed other flags: they would not compare.

    Those that failed compare with nothing, and their flags may be what has to be put right.
    """
    before = study.user_attrs.get("settings", settings)
    if before != settings and any("failed" not in trial.user_attrs for trial in study.trials):
        sys.exit(
            f"error: {study.study_name} in {path} has trials with {shlex.join(before)}, not with "
            f"{shlex.join(settings)} (--vary, and what follows --): leave both as they were, or name another --study"
        )
    study.set_user_attr("settings", settings)


def take_up(study: optuna.Study) -> None:
    """Queue the trials that a killed or interrupted search left behind, each with the folder where it began."""
    if study.get_trials(states=[TrialState.RUNNING]):
        time.sleep(GRACE_SECONDS + 1)
        optuna.storages.fail_stale_trials(study)
    last = {trial.user_attrs.get("folder"): trial for trial in study.trials}
    for folder, trial in last.items():
        if folder and trial.state == TrialState.FAIL and "failed" not in trial.user_attrs:
            study.enqueue_trial(trial.params, user_attrs={"folder": folder})


@contextlib.contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C let the runs write a checkpoint and end."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def nb_done(study: optuna.Study) -> int:
    """Trials that need not be carried out again."""
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "failed" in trial.user_attrs
        for trial in study.trials
    )


def after_trial(nb_trials: int, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Say how a trial ended; the last one ends the study."""
    done = nb_done(study)
    ended = {TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed"}.get(trial.state)
    if trial.state == TrialState.COMPLETE:
        ended = f"{100 * trial.value:.2f} % at {trial.user_attrs['used']:.3f} of the cost"
    values = " ".join(
        f"--{name} {value:.3g}" if isinstance(value, float) else f"--{name} {value}"
        for name, value in trial.params.items()
    )
    print(f"{done} of {nb_trials}: {ended}: {values}", file=sys.stderr, flush=True)
    if done >= nb_trials:
        study.stop()


def summary(study: optuna.Study) -> str:
    """The trials within the budget, best first; if there is none, those that come nearest."""
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    within = sorted((t for t in done if t.constraints["budget"] <= 0), key=lambda t: -t.value)
    shown = within or sorted(done, key=lambda t: t.constraints["budget"])
    stopped = sum(trial.state == TrialState.PRUNED for trial in study.trials)
    lines = [f"{len(done)} trials finished, {stopped} stopped early, {len(within)} within the budget"]
    lines[0] += f" ({'best' if within else 'nearest'} first)" if done else ""
    for trial in shown[:5]:
        values = " ".join(f"--{name} {value}" for name, value in trial.params.items())
        used, lost = trial.user_attrs["used"], trial.user_attrs["lost"]
        lines.append(f"{100 * trial.value:.2f} % ({100 * lost:.2f} points lost) at {used:.3f} of the cost: {values}")
    return "\n".join(lines + [trial.user_attrs["failed"] for trial in study.trials if "failed" in trial.user_attrs])


if __name__ == "__main__":
    main()
