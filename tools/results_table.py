"""Prints the table of the README from the committed results: results/<task>_<learner>_<setting>/result.json.

.venv/bin/python tools/results_table.py
"""

import json
import pathlib
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "| run | accuracy | lost | MACs | LiteRT, 1 thread | `.tflite` | epochs | seed |"
RULE = "|---|---|---|---|---|---|---|---|"


def table(folder: pathlib.Path) -> str:
    """One line for each result, in the order of the folders' names."""
    paths = sorted(folder.glob("*/result.json"))
    return "\n".join([HEADER, RULE, *[row(path.parent.name, json.loads(path.read_text())) for path in paths]])


def row(name: str, result: Mapping) -> str:
    """Accuracy, and what was lost against the dense model trained for the same epochs; MACs and time."""
    dense, own = result["dense"], result.get("pruned", result["dense"])
    budget = result.get("dense_same_budget")
    lost = f"{100 * (budget['accuracy'] - own['accuracy']):.2f}" if budget and own is not dense else ""
    fewer = faster = ""
    if own is not dense:
        fewer = f", {dense['macs'] / own['macs']:.2f} times fewer"
        faster = f", {dense['latency_ms']['median'] / own['latency_ms']['median']:.2f} times as fast"
    epochs = " + ".join(f"{count:g}" for count in result["epochs"].values())
    cells = (
        f"[{name}](results/{name})",
        f"{100 * own['accuracy']:.2f} %",
        lost,
        f"{own['macs'] / 1e6:.1f} M{fewer}",
        f"{own['latency_ms']['median']:.3f} ms{faster}",
        f"{own['tflite_bytes'] / 1e3:.0f} kB",
        epochs,
        str(result["seed"]),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(table(ROOT / "results"))
