"""Whether a short schedule of channel selection costs accuracy: the default steps against twenty times as many.

    .venv/bin/python benchmarks/selection_schedule.py --out results/selection_schedule.json

Discrimination-aware channel pruning of the digits task, ratio 0.5, each schedule and seed from one dense model.
Runs are kept under --work, so that a second call goes on.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

from turns import write

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Steps of block-wise tuning per stage, steps of layer-wise tuning per layer.
SCHEDULES = {"short": (40, 40), "exhaustive": (800, 800)}
SEEDS = (0, 1, 2)


def result(work: pathlib.Path, schedule: str, seed: int) -> dict:
    """One run by the command line; its result.json."""
    block, layer = SCHEDULES[schedule]
    logs = work / schedule
    command = [str(ROOT / "scripts" / "run_local.sh"), "--device=cpu", "nets/resnet_at_digits_run.py"]
    command += ["--learner", "dis-chn-pruned", "--dcp_prune_ratio", "0.5", "--seed", str(seed)]
    command += ["--dcp_nb_iters_block", str(block), "--dcp_nb_iters_layer", str(layer)]
    # One dense model for all, so that only the pruning differs.
    dense = work / "dense.keras"
    command += ["--save_path", str(dense), "--log_dir", str(logs)]
    subprocess.run(command, check=True)
    found = [json.loads(path.read_text()) for path in logs.glob("*_dis-chn-pruned_*/result.json")]
    return next(one for one in found if one["seed"] == seed)


def train_dense(work: pathlib.Path) -> None:
    command = [str(ROOT / "scripts" / "run_local.sh"), "--device=cpu", "nets/resnet_at_digits_run.py"]
    command += ["--save_path", str(work / "models"), "--log_dir", str(work / "dense")]
    subprocess.run(command, check=True)
    (path,) = (work / "models").glob("*.keras")
    (work / "dense.keras").write_bytes(path.read_bytes())


def seconds_of_selection(seconds: dict[str, float]) -> float:
    """Choosing and layer-wise tuning; block-wise tuning counts apart."""
    return sum(value for name, value in seconds.items() if name.startswith("prune") and not name.endswith("_block"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("logs/selection_schedule"), help="the runs")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    if not (args.work / "dense.keras").is_file():
        train_dense(args.work)
    rows: dict[str, dict] = {}
    for name in SCHEDULES:
        found = [result(args.work, name, seed) for seed in SEEDS]
        accuracies = [one["pruned"]["accuracy"] for one in found]
        rows[name] = {
            "accuracies": accuracies,
            "mean": statistics.mean(accuracies),
            "dense": found[0]["dense"]["accuracy"],
            "seconds_of_selection": [round(seconds_of_selection(one["seconds"]), 1) for one in found],
            "seconds_of_fine_tuning": [round(one["seconds"]["fine_tune"], 1) for one in found],
        }
    for name, row in rows.items():
        picked = "  ".join(f"{100 * accuracy:.2f}" for accuracy in row["accuracies"])
        print(
            f"{name:12} {100 * row['mean']:.2f} % ({picked}), dense {100 * row['dense']:.2f} %, selection "
            f"{statistics.median(row['seconds_of_selection']):.0f} s, "
            f"fine-tuning {statistics.median(row['seconds_of_fine_tuning']):.0f} s"
        )
    write(args.out, {"seeds": SEEDS, "schedules": SCHEDULES, "rows": rows})


if __name__ == "__main__":
    main()
