"""The trials of a search (`search.py`): what is varied, and a run for each."""

import argparse
import contextlib
import json
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import optuna

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What is worth varying, where nothing is said.
SPACES = {
    "chn-pruned": ["lrn_rate_ft=0.005:0.2:log", "chn_criterion=l1|l2|fpgm|bn", "chn_ranking=uniform|global"],
    "dis-chn-pruned": ["lrn_rate_ft=0.005:0.2:log", "dcp_lrn_rate_adam=0.0001:0.01:log", "dcp_prune_ratio=0.3:0.6"],
    "fcf": ["lrn_rate_ft=0.005:0.2:log", "fcf_alpha=0.6:0.99", "fcf_ranking=uniform|global"],
    "stripe": ["lrn_rate_ft=0.005:0.2:log", "stripe_sr=1e-6:1e-3:log", "stripe_ramp=0.3:0.8"],
    "fbs": ["lrn_rate_ft=0.005:0.2:log", "fbs_density=0.4:0.8", "fbs_normalize=paper|sum"],
}
# The flag of a learner that takes such a budget itself: one of MACs it meets, one of time as far as the clock allows.
TARGETS = {
    ("chn-pruned", "macs"): "chn_target_macs",
    ("chn-pruned", "latency"): "chn_target_latency",
    ("fcf", "macs"): "fcf_target_macs",
    ("fcf", "latency"): "fcf_target_latency",
    ("stripe", "macs"): "stripe_target_macs",
    ("stripe", "latency"): "stripe_target_latency",
}
# The stage whose accuracy says how a trial does, where it is not the fine-tuning.
LAST_STAGES = {"stripe": "stripe"}
# A measured time hits its target within some percent; multiply-accumulates are counted.
TOLERANCES = {"macs": 0.0, "latency": 0.02}
POLL_SECONDS = 0.5
MOST_FAILURES = 3
# Exit codes of a run: its command cannot be carried out; it was asked to stop.
REFUSED, STOPPED = 2, (130, 143, -signal.SIGINT, -signal.SIGTERM)


class RunFailed(Exception):
    """A run failed; the next trial may do better."""


class SearchStopped(Exception):
    """The search ends here; the message says why."""


def budget(text: str) -> tuple[str, float]:
    """What is limited, and to which share of the dense network's.

    Raises:
        argparse.ArgumentTypeError: no such thing, or no such share.
    """
    kind, _, number = text.partition("=")
    with contextlib.suppress(ValueError):
        if kind in TOLERANCES and 0 < float(number) <= 1:
            return kind, float(number)
    raise argparse.ArgumentTypeError(f"{text}: must be macs=SHARE or latency=SHARE, above 0 and at most 1")


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
        low, high = (int if how == ["int"] else float)(first), (int if how == ["int"] else float)(second)
        if how not in ([], ["log"], ["int"]) or not low <= high or (how == ["log"] and low <= 0):
            raise ValueError(values)
    except ValueError:
        sys.exit(
            f"error: --vary {text}: must be NAME=LOW:HIGH, with :log (LOW above 0) or :int behind it, or NAME=A|B|C"
        )
    if how == ["int"]:
        return name, lambda trial: trial.suggest_int(name, low, high)
    return name, lambda trial: trial.suggest_float(name, low, high, log=how == ["log"])


class Runs:
    """Carries out trials: a run each, its accuracy on the held-out pictures, what it is over the budget.

    Args:
        script: what is run, by `learner`.
        kind, share: the budget.
        passed: further flags of every run.
        folder: of the study's runs.
        models: where all studies find the dense models.

    Attributes:
        stop: once it is set, the runs write a checkpoint and end.
        reason: why the search ended early, "" if it did not.
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
        self.stop, self.reason, self._failures = threading.Event(), "", 0
        self._kind, self._most, self._folder = kind, share + TOLERANCES[kind], folder
        self._stage = LAST_STAGES.get(learner, "fine_tune")
        target = [f"--{TARGETS[learner, kind]}={share}"] if (learner, kind) in TARGETS else []
        self._command = [str(ROOT / "scripts" / "run_local.sh"), script, "--learner", learner, "--enbl_trn_val_split"]
        self._command += [*target, f"--save_path={models}", "--noenbl_layer_latency", *passed]

    def __call__(self, trial: optuna.Trial, values: Mapping[str, object]) -> float:
        """The accuracy of a trial.

        Raises:
            optuna.TrialPruned: it lags behind the others.
            RunFailed: its run failed.
            SearchStopped: no trial can be carried out, several failed in a row, or the search was asked to stop.
        """
        # A trial that was interrupted goes on in the folder where it began.
        name = trial.user_attrs.get("folder", f"trial_{trial.number}")
        trial.set_user_attr("folder", name)
        logs = self._folder / name
        logs.mkdir(parents=True, exist_ok=True)
        flags = [f"--{key}={value}" for key, value in values.items()]
        with (self._folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen([*self._command, f"--log_dir={logs}", *flags], stdout=log, stderr=log)
            self._watch(trial, process, logs)
        if process.returncode:
            self._fail(
                trial, process.returncode, f"trial {trial.number} failed, {log.name} says why: {shlex.join(flags)}"
            )
        self._failures = 0
        return self._kept(trial, logs)

    def _watch(self, trial: optuna.Trial, process: subprocess.Popen, logs: pathlib.Path) -> None:
        """Report the accuracy of the last training as it goes, until the run ends."""
        reported = 0
        try:
            while process.poll() is None and not self.stop.is_set():
                time.sleep(POLL_SECONDS)
                for step, accuracy in _accuracies(logs, self._stage, reported):
                    reported = step
                    trial.report(accuracy, step)
                if reported and trial.should_prune():
                    self._failures = 0
                    raise optuna.TrialPruned
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    def _fail(self, trial: optuna.Trial, code: int, reason: str) -> None:
        if code in STOPPED:
            self._end(self.reason or "stopped: the same command goes on")
        trial.set_user_attr("failed", reason)
        self._failures += 1
        if code == REFUSED or self._failures == MOST_FAILURES:
            self._end(f"error: {reason}")
        raise RunFailed(reason)

    def _end(self, reason: str) -> None:
        # Kept too, as Optuna loses what the last of several trials at the same time raise.
        self.reason = reason
        self.stop.set()
        raise SearchStopped(reason)

    def _kept(self, trial: optuna.Trial, logs: pathlib.Path) -> float:
        results = [json.loads(path.read_text()) for path in sorted(logs.glob("*/result.json"))]
        (result,) = [result for result in results if "pruned" in result]
        trial.set_constraint("budget", self._used(result) - self._most)
        trial.set_user_attr("used", self._used(result))
        trial.set_user_attr("lost", result["dense"]["accuracy"] - result["pruned"]["accuracy"])
        return result["pruned"]["accuracy"]

    def _used(self, result: Mapping) -> float:
        """What is left of the dense network's cost."""
        dense, pruned = result["dense"], result["pruned"]
        if self._kind == "latency":
            return pruned["latency_ms"]["median"] / dense["latency_ms"]["median"]
        return pruned.get("macs_method", pruned["macs"]) / dense["macs"]


def _accuracies(logs: pathlib.Path, stage: str, after: int) -> list[tuple[int, float]]:
    """(step, accuracy on training batches) of a stage after a step."""
    lines = [json.loads(line) for path in logs.glob("*/metrics.jsonl") for line in path.read_text().splitlines()]
    found = [(line["step"], line["accuracy"]) for line in lines if line["stage"] == stage and "accuracy" in line]
    return sorted((step, accuracy) for step, accuracy in found if step > after)
