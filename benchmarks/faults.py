"""Fifty times kill -9: does a run that was killed end as the undisturbed one does?

    .venv/bin/python benchmarks/faults.py --out results/faults.json

Every learner on the digits task, short, with --deterministic. A run is killed several times, each time in another of
its stages (the last of which is the export), at a random moment of it, and started again by the same command until it
ends; after one kill in five the newest checkpoint is cut off, too. Then the weights and what was chosen after every
stage, the exported files and the accuracies must be those of a run that nobody disturbed, to the last bit. (Not so the
files of `stripe` and `fbs`, whose forms a clock chooses; there the weights that they are made of.) Rows are written as
they come.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from turns import write

from secateur.learners import registry
from secateur.training import checkpoint

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, str(ROOT / "nets" / "resnet_at_digits_run.py"), "--deterministic", "--resnet_size=8"]
COMMAND += ["--nb_epochs=4", "--nb_epochs_ft=4", "--save_step=10", "--batch_size=64", "--noenbl_layer_latency"]
FLAGS = {
    "full-prec": [],
    "chn-pruned": ["--chn_nb_rounds=2", "--chn_criterion=taylor"],
    "dis-chn-pruned": ["--dcp_nb_iters_block=30", "--dcp_nb_iters_layer=16", "--dcp_nb_stages=1", "--dcp_nb_smpls=256"],
    "fbs": ["--fbs_density_step=0.25", "--fbs_nb_epochs_warm_up=1", "--fbs_nb_epochs_step=1"],
    "fcf": ["--fcf_nb_epochs=12", "--fcf_rho_share=0.5"],
    "stripe": ["--stripe_target_macs=0.5"],
}
SECONDS_TO_START, SECONDS_TO_END = 120, 900
# Times --kills, so that a stage of milliseconds, which no kill may ever hit, does not keep it going for good.
MOST = 3
# Behind the last stage.
EXPORT = "the export"
# Its files follow the clock.
BY_CLOCK = ("stripe", "fbs")


def start(learner: str, folder: pathlib.Path) -> subprocess.Popen:
    command = [*COMMAND, f"--learner={learner}", *FLAGS[learner]]
    command += [f"--log_dir={folder / 'logs'}", f"--save_path={folder / 'models'}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(folder / "messages.txt").open("a"))


def finish(learner: str, folder: pathlib.Path) -> None:
    if start(learner, folder).wait(SECONDS_TO_END):
        sys.exit(f"error: a run of {learner} failed: {(folder / 'messages.txt').read_text()[-2000:]}")


def stages(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """`<kind of run>/<stage>` to its file, in the order in which they were finished."""
    paths = [*folder.glob("logs/*/stages/*.npz"), *folder.glob("logs/shared/*.npz")]
    return {_name(path): path for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)}


def _name(path: pathlib.Path) -> str:
    if path.parent.name == "shared":
        return f"shared/{path.stem.rpartition('_')[0]}"
    return f"{path.parts[-3].rsplit('_', 2)[-2]}/{path.stem}"


def written(folder: pathlib.Path) -> dict[pathlib.Path, int]:
    """The files that show the progress of a run, and when each was written."""
    found = {}
    for path in [*folder.glob("logs/**/*.npz"), *folder.glob("logs/*/metrics.jsonl")]:
        with contextlib.suppress(FileNotFoundError):  # an old checkpoint goes when a new one is there
            found[path] = path.stat().st_mtime_ns
    return found


def durations(folder: pathlib.Path, begin: int) -> dict[str, float]:
    """Seconds of each stage of an undisturbed run, which began to write at `begin` (ns), and of what is behind them."""
    ends = {name: path.stat().st_mtime_ns for name, path in stages(folder).items()}
    ends[EXPORT] = max(path.stat().st_mtime_ns for path in folder.glob("logs/*/result.json"))
    times = [begin, *ends.values()]
    return {name: max(b - a, 0) / 1e9 for name, (a, b) in zip(ends, itertools.pairwise(times), strict=True)}


def kill_in(learner: str, folder: pathlib.Path, before: str | None, seconds: float) -> str | None:
    """Start the run, and kill it so many seconds after it has written something and the stage before is finished.

    Returns:
        The last stage that was finished, "" for none; None if the run ended before it was killed.
    """
    old, process = written(folder), start(learner, folder)
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        if written(folder) != old and (before is None or before in stages(folder)):
            break
        time.sleep(0.02)
    time.sleep(seconds)
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return next(reversed(stages(folder)), "")


def cut_newest_checkpoint(folder: pathlib.Path) -> bool:
    """Leave half of the checkpoint that was written last, as a disk may that lost its power; False if there is none."""
    paths = sorted(folder.glob("logs/*/checkpoints/*/*.npz"), key=lambda path: path.stat().st_mtime_ns)
    if not paths:
        return False
    paths[-1].write_bytes(paths[-1].read_bytes()[: paths[-1].stat().st_size // 2])
    return True


def same(learner: str, folder: pathlib.Path, reference: pathlib.Path) -> list[str]:
    """What differs between two finished runs."""
    found, expected = stages(folder), stages(reference)
    wrong = [] if set(found) == set(expected) else ["the stages"]
    for name in set(found) & set(expected):
        (ours, made), (theirs, wanted) = (checkpoint.load(path) for path in (found[name], expected[name]))
        equal = ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in theirs)
        wrong += [] if equal else [f"weights after {name}"]
        by_clock = learner in BY_CLOCK and name.endswith("/forms")
        wrong += [] if by_clock or made["output"] == wanted["output"] else [f"what {name} chose"]
    ends = _ends(learner, folder)
    return wrong + [name for name, end in _ends(learner, reference).items() if ends.get(name) != end]


def _ends(learner: str, folder: pathlib.Path) -> dict[str, object]:
    """What stands in the results, and the checksums of the files."""
    found: dict[str, object] = {}
    for path in folder.glob("logs/*/result.json"):
        result = json.loads(path.read_text())
        for key in {"dense", "pruned"} & result.keys():
            found[f"accuracy of {key}"] = result[key]["accuracy"]
        found["kept channels"] = result.get("kept_channels")
        names = ["plan.json", "dense.tflite"] + ([] if learner in BY_CLOCK else ["model.tflite"])
        files = [path.with_name(name) for name in names if path.with_name(name).is_file()]
        found |= {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return found


class Disturbed:
    """A learner's undisturbed runs, and runs that are killed again and again in all of its stages in turn."""

    def __init__(self, learner: str, work: pathlib.Path, chance: random.Random):
        self.learner, self._work, self._chance, self._nb_runs = learner, work, chance, 0
        self._reference, again = self._folder("reference"), self._folder("reference_again")
        finish(learner, self._reference)
        finish(learner, again)
        if wrong := same(learner, again, self._reference):
            sys.exit(f"error: two undisturbed runs of {learner} differ: {', '.join(wrong)}")
        first = min(path.stat().st_mtime_ns for path in self._reference.glob("logs/*/config.json"))
        self._seconds = durations(self._reference, first)
        self.left = list(self._seconds)

    def run(self, nb_kills: int) -> dict:
        """A run with so many kills, each in another stage, those that were not hit yet first."""
        names = list(self._seconds)
        others = [name for name in names if name not in self.left]
        self._chance.shuffle(self.left)
        self._chance.shuffle(others)
        # In the order of the run, so that each kill finds its stage still to come.
        wanted = sorted((self.left + others)[:nb_kills], key=names.index)
        self._nb_runs += 1
        folder, kills = self._folder(f"killed_{self._nb_runs}"), []
        for name in wanted:
            before = names[names.index(name) - 1] if name != names[0] else None
            last = kill_in(self.learner, folder, before, self._chance.uniform(0.0, self._seconds[name]))
            if last is None:
                break
            hit = names[names.index(last) + 1] if last else names[0]
            self.left = [other for other in self.left if other != hit]
            cut = self._chance.random() < 0.2 and cut_newest_checkpoint(folder)
            kills.append({"in": hit, "checkpoint_cut": cut})
        finish(self.learner, folder)
        wrong = same(self.learner, folder, self._reference)
        hits = ", ".join(kill["in"] for kill in kills)
        print(f"{self.learner}: killed in {hits}: {', '.join(wrong) or 'no trace'}", flush=True)
        return {"learner": self.learner, "kills": kills, "wrong": wrong}

    def _folder(self, name: str) -> pathlib.Path:
        folder = self._work / f"{self.learner}_{name}"
        folder.mkdir(parents=True)
        return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kills", type=int, default=50, help="at least so many, and one in every stage if it can be hit"
    )
    parser.add_argument("--learner", action="append", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, default=0, help="of when and where")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    chance, rows, names = random.Random(args.seed), [], args.learner or list(registry.LEARNERS)
    with tempfile.TemporaryDirectory() as work:
        learners = [Disturbed(name, pathlib.Path(work), chance) for name in names]
        for one in itertools.cycle(learners):
            nb_kills = sum(len(row["kills"]) for row in rows)
            left = [stage for other in learners for stage in other.left]
            if nb_kills >= (MOST if left else 1) * args.kills:
                break
            if one.left or not left:
                rows.append(one.run(4))
                write(args.out, summary(rows, learners))
    print(
        "{kills_without_trace} of {kills} kills left no trace; never hit: {never_hit}".format(**summary(rows, learners))
    )


def summary(rows: list[dict], learners: list[Disturbed]) -> dict:
    good = sum(len(row["kills"]) for row in rows if not row["wrong"])
    missed = [f"{one.learner}: {stage}" for one in learners for stage in one.left]
    kills = sum(len(row["kills"]) for row in rows)
    return {"rows": rows, "kills_without_trace": good, "kills": kills, "never_hit": missed}


if __name__ == "__main__":
    main()
