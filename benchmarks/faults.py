"""Fifty times kill -9: does a run that was killed end as the undisturbed one does?

    .venv/bin/python benchmarks/faults.py --out results/faults.json

Every learner on the digits task, short, with --deterministic. A run is killed several times, each time behind another
stage, at a random moment after the new process has begun to write (before that it only imports), and started again by
the same command until it ends. Then the weights after every stage, the kept channels and the accuracies must be those
of a run that nobody disturbed, to the last bit.
"""

import argparse
import contextlib
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
SECONDS_TO_START = 120


def start(learner: str, folder: pathlib.Path) -> subprocess.Popen:
    command = [*COMMAND, f"--learner={learner}", *FLAGS[learner]]
    command += [f"--log_dir={folder / 'logs'}", f"--save_path={folder / 'models'}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(folder / "messages.txt").open("a"))


def finish(learner: str, folder: pathlib.Path) -> None:
    if start(learner, folder).wait():
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


def kill_in(
    learner: str, folder: pathlib.Path, before: str | None, seconds: float, chance: random.Random
) -> str | None:
    """Start the run and kill it some time after it has written something and a stage is finished.

    Returns:
        The last stage that was finished; None if the run ended before it was killed.
    """
    old, process = written(folder), start(learner, folder)
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        if written(folder) != old and (before is None or before in stages(folder)):
            break
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, seconds))
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return next(reversed(stages(folder)), "the start")


def same(folder: pathlib.Path, reference: pathlib.Path) -> list[str]:
    """What differs between two finished runs."""
    found, expected = stages(folder), stages(reference)
    wrong = [] if set(found) == set(expected) else ["the stages"]
    for name in set(found) & set(expected):
        arrays = [checkpoint.load(path)[0] for path in (found[name], expected[name])]
        equal = arrays[0].keys() == arrays[1].keys() and all(
            np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[1]
        )
        wrong += [] if equal else [f"weights after {name}"]
    results = [[json.loads(p.read_text()) for p in sorted(f.glob("logs/*/result.json"))] for f in (folder, reference)]
    for ours, theirs in zip(*results, strict=True):
        for key in ("dense", "pruned"):
            if key in theirs and ours[key]["accuracy"] != theirs[key]["accuracy"]:
                wrong.append(f"accuracy of {key}")
        if ours.get("kept_channels") != theirs.get("kept_channels"):
            wrong.append("the kept channels")
    return wrong


def disturbed(learner: str, nb_kills: int, work: pathlib.Path, chance: random.Random) -> dict:
    """One learner: a run without and one with so many kills."""
    reference, folder = work / f"{learner}_reference", work / f"{learner}_killed"
    for one in (reference, folder):
        one.mkdir(parents=True)
    begin = time.monotonic()
    finish(learner, reference)
    whole = time.monotonic() - begin
    names: list[str | None] = [None, *stages(reference)]
    # In the order of the run, so that each kill finds its stage still to come.
    wanted = sorted(chance.sample(range(len(names)), k=min(nb_kills, len(names))))
    tried = [kill_in(learner, folder, names[k], whole / len(names), chance) for k in wanted]
    killed = [name for name in tried if name]
    finish(learner, folder)
    wrong = same(folder, reference)
    row = {"learner": learner, "kills": len(killed), "behind": killed, "wrong": wrong}
    print(f"{learner}: {len(killed)} kills, {'differs: ' + ', '.join(wrong) if wrong else 'ends as undisturbed'}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of when and where")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    chance, rows, left = random.Random(args.seed), [], args.kills
    with tempfile.TemporaryDirectory() as work:
        turn = 0
        while left:
            names = list(registry.LEARNERS)
            learner = names[turn % len(names)]
            nb_kills = min(left, max(1, round(args.kills / len(names) / 2)))
            rows.append(disturbed(learner, nb_kills, pathlib.Path(work) / str(turn), chance))
            left, turn = left - max(rows[-1]["kills"], 1), turn + 1
    good = sum(row["kills"] for row in rows if not row["wrong"])
    print(f"{good} of {sum(row['kills'] for row in rows)} kills left no trace")
    write(args.out, {"rows": rows, "kills_without_trace": good, "kills": sum(row["kills"] for row in rows)})


if __name__ == "__main__":
    main()
