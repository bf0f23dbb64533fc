"""Looks for the settings of a learner that lose least within a budget, on held-out training pictures.

    .venv/bin/python tools/search.py nets/resnet_at_digits_run.py --learner chn-pruned --budget macs=0.5 --trials 12

Every trial is a run of the script with --enbl_trn_val_split; a trial whose training lags behind the others is stopped.
The study lies in --study (SQLite): the same command goes on where it stopped, several of them at once share the work,
and --workers starts several. Script, learner and budget make a study of their own, whose runs lie beside the database
in <study>.runs/<script>_<learner>_<budget>. What follows -- is passed to every run. With --vary one chooses what is
varied: NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=LOW:HIGH:int, NAME=A|B|C.
"""

import argparse
import contextlib
import json
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import optuna

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What is worth varying, where nothing is said.
SPACES = {
    "chn-pruned": ["lrn_rate_ft=0.005:0.2:log", "chn_criterion=l1|l2|fpgm|bn", "chn_ranking=uniform|global"],
    "dis-chn-pruned": ["lrn_rate_ft=0.005:0.2:log", "dcp_lrn_rate_adam=0.0001:0.01:log", "dcp_prune_ratio=0.3:0.6"],
    "fcf": ["lrn_rate_ft=0.005:0.2:log", "fcf_prune_ratio=0.2:0.5", "fcf_ranking=uniform|global"],
    "stripe": ["lrn_rate_ft=0.005:0.2:log", "stripe_target_macs=0.3:0.7", "stripe_ramp=0.3:0.8"],
    "fbs": ["lrn_rate_ft=0.005:0.2:log", "fbs_density=0.4:0.8", "fbs_normalize=paper|sum"],
}
# The flag of a learner that takes such a budget itself, and so always meets it.
TARGETS = {
    ("chn-pruned", "macs"): "chn_target_macs",
    ("chn-pruned", "latency"): "chn_target_latency",
    ("fcf", "macs"): "fcf_target_macs",
    ("fcf", "latency"): "fcf_target_latency",
    ("stripe", "macs"): "stripe_target_macs",
}
# The stage whose accuracy says how a trial does, where it is not the fine-tuning.
LAST_STAGES = {"stripe": "stripe"}
TOLERANCE = 0.02
POLL_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("script", help="nets/<network>_at_<data>_run.py")
    parser.add_argument("--learner", choices=SPACES, required=True, help="whose settings")
    parser.add_argument(
        "--budget", type=budget, default="macs=0.5", help="macs=SHARE or latency=SHARE of the dense network's"
    )
    parser.add_argument("--vary", action="append", help="a setting and its range; may be given several times")
    parser.add_argument("--trials", type=int, default=20, help="of the study in all, finished ones included")
    parser.add_argument("--workers", type=int, default=1, help="trials at the same time")
    parser.add_argument("--study", type=pathlib.Path, default=pathlib.Path("logs/search/study.db"), help="its database")
    own, passed = sys.argv[1:], []
    if "--" in own:
        own, passed = own[: own.index("--")], own[own.index("--") + 1 :]
    args = parser.parse_args(own)
    kind, share = args.budget
    names = (pathlib.Path(args.script).stem, args.learner, f"{kind}={share:g}")
    folder = args.study.with_name(f"{args.study.name}.runs") / "_".join(names).replace("=", "_")
    args.study.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=" ".join(names),
        storage=f"sqlite:///{args.study}",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    if folder.exists() and not study.trials:
        parser.error(f"{folder} holds runs that {args.study} does not know: remove it, or name another --study")
    # Only now, because two that make the database at once get into each other's way.
    helpers = [subprocess.Popen([sys.executable, __file__, *_alone(sys.argv[1:])]) for _ in range(args.workers - 1)]
    run = Runs(args.script, args.learner, kind, share, passed, folder, args.study.parent / "models")
    space = [parsed(text) for text in args.vary or spaces(args.learner, kind)]
    while sum(trial.state.is_finished() for trial in study.trials) < args.trials:
        study.optimize(lambda trial: run(trial, {name: draw(trial) for name, draw in space}), n_trials=1)
    for helper in helpers:
        helper.wait()
    print(summary(study))


def _alone(argv: Sequence[str]) -> list[str]:
    """The command line of a helper, which starts none itself; the last value of a flag counts."""
    split = list(argv).index("--") if "--" in argv else len(argv)
    return [*argv[:split], "--workers=1", *argv[split:]]


def budget(text: str) -> tuple[str, float]:
    """What is limited, and to which share of the dense network's.

    Raises:
        argparse.ArgumentTypeError: no such thing, or no such share.
    """
    kind, _, number = text.partition("=")
    with contextlib.suppress(ValueError):
        if kind in ("macs", "latency") and 0 < float(number) <= 1:
            return kind, float(number)
    raise argparse.ArgumentTypeError(f"{text}: must be macs=SHARE or latency=SHARE, above 0 and at most 1")


def spaces(learner: str, kind: str) -> list[str]:
    """What is varied by itself: not what the budget says already."""
    return [text for text in SPACES[learner] if text.partition("=")[0] != TARGETS.get((learner, kind))]


def parsed(text: str) -> tuple[str, Callable[[optuna.Trial], object]]:
    """A setting's name and how a trial draws its value.

    Raises:
        SystemExit: not in one of the four forms.
    """
    name, _, values = text.partition("=")
    if "|" in values:
        return name, lambda trial: trial.suggest_categorical(name, values.split("|"))
    try:
        first, second, *how = values.split(":")
        if how == ["int"]:
            least, most = int(first), int(second)
            return name, lambda trial: trial.suggest_int(name, least, most)
        if how not in ([], ["log"]):
            raise ValueError(how)
        low, high = float(first), float(second)
        return name, lambda trial: trial.suggest_float(name, low, high, log=how == ["log"])
    except ValueError:
        sys.exit(f"error: --vary {text}: must be NAME=LOW:HIGH, with :log or :int behind it, or NAME=A|B|C")


class Runs:
    """Carries out trials: a run each, its accuracy on the held-out pictures, what it is over the budget.

    Args:
        script: what is run, by `learner`.
        kind, share: the budget.
        passed: further flags of every run.
        folder: of the study's runs.
        models: where all studies find the dense models.
    """

    def __init__(
        self,
        script: str,
        learner: str,
        kind: str,
        share: float,
        passed: Sequence[str],
        folder: pathlib.Path,
        models: pathlib.Path,
    ):
        self._kind, self._share, self._folder = kind, share, folder
        self._stage = LAST_STAGES.get(learner, "fine_tune")
        target = [f"--{TARGETS[learner, kind]}={share}"] if (learner, kind) in TARGETS else []
        self._command = [str(ROOT / "scripts" / "run_local.sh"), script, "--learner", learner, "--enbl_trn_val_split"]
        self._command += [*target, f"--save_path={models}", "--noenbl_layer_latency", *passed]

    def __call__(self, trial: optuna.Trial, values: Mapping[str, object]) -> float:
        logs = self._folder / f"trial_{trial.number}"
        logs.mkdir(parents=True)
        flags = [f"--{name}={value}" for name, value in values.items()]
        with (self._folder / f"trial_{trial.number}.log").open("w") as log:
            process = subprocess.Popen([*self._command, f"--log_dir={logs}", *flags], stdout=log, stderr=log)
            stopped = self._watch(trial, process, logs)
        if stopped:
            raise optuna.TrialPruned
        if process.returncode:
            sys.exit(f"error: trial {trial.number} failed, {log.name} says why: {shlex.join(flags)}")
        (path,) = [p for p in logs.glob("*/result.json") if "pruned" in json.loads(p.read_text())]
        result = json.loads(path.read_text())
        # A measured time hits its target within some percent.
        trial.set_constraint("budget", self._used(result) - self._share - TOLERANCE)
        trial.set_user_attr("used", self._used(result))
        trial.set_user_attr("lost", result["dense"]["accuracy"] - result["pruned"]["accuracy"])
        return result["pruned"]["accuracy"]

    def _watch(self, trial: optuna.Trial, process: subprocess.Popen, logs: pathlib.Path) -> bool:
        """Report the accuracy of the last training as it goes; True if the trial was stopped because it lags behind."""
        reported = 0
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            for step, accuracy in _accuracies(logs, self._stage):
                if step > reported:
                    reported = step
                    trial.report(accuracy, step)
            if reported and trial.should_prune():
                process.send_signal(signal.SIGTERM)
                process.wait()
                return True
        return False

    def _used(self, result: Mapping) -> float:
        """What is left of the dense network's cost."""
        dense, pruned = result["dense"], result["pruned"]
        if self._kind == "latency":
            return pruned["latency_ms"]["median"] / dense["latency_ms"]["median"]
        return pruned.get("macs_method", pruned["macs"]) / dense["macs"]


def _accuracies(logs: pathlib.Path, stage: str) -> list[tuple[int, float]]:
    """(step, accuracy on training batches) of a stage so far."""
    lines = [json.loads(line) for path in logs.glob("*/metrics.jsonl") for line in path.read_text().splitlines()]
    return [(line["step"], line["accuracy"]) for line in lines if line["stage"] == stage and "accuracy" in line]


def summary(study: optuna.Study) -> str:
    """The trials within the budget, best first."""
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    within = sorted((t for t in done if t.constraints["budget"] <= 0), key=lambda t: -t.value)
    stopped = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    lines = [f"{len(done)} trials finished, {stopped} stopped early, {len(within)} within the budget (best first)"]
    for trial in within[:5]:
        values = " ".join(f"--{name} {value}" for name, value in trial.params.items())
        used, lost = trial.user_attrs["used"], trial.user_attrs["lost"]
        lines.append(f"{100 * trial.value:.2f} % ({100 * lost:.2f} points lost) at {used:.3f} of the cost: {values}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
