"""Prints the table of the README from the committed results: results/<task>_<learner>_<setting>/result.json.

.venv/bin/python tools/results_table.py

Runs that differ in the seed alone, `<name>` and `<name>_seed<k>`, get a row for their mean.
"""

import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "| run | accuracy | lost | lost, same epochs | MACs | LiteRT, 1 thread | `.tflite` | epochs | seed |"
RULE = "|---|---|---|---|---|---|---|---|---|"


def table(folder: pathlib.Path) -> str:
    """One line for each result, in the order of the folders' names, and one for each mean."""
    results = {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))}
    # The dense model that was trained on belongs to all runs that began with the same one.
    budgets = {r["config"].get("start"): r["dense_same_budget"] for r in results.values() if "dense_same_budget" in r}
    groups: dict[str, list[Mapping]] = {}
    lines = [HEADER, RULE]
    for name, result in results.items():
        lines.append(row(name, result, budgets.get(result["config"].get("start", "none"))))
        groups.setdefault(re.sub(r"_seed\d+$", "", name), []).append(result)
    lines += [mean_row(name, group, budgets) for name, group in groups.items() if len(group) > 1]
    return "\n".join(lines)


def row(name: str, result: Mapping, budget: Mapping | None) -> str:
    """Accuracy; points lost against the model it began with, and against that one trained for the same epochs more."""
    dense, own = result["dense"], result.get("pruned", result["dense"])
    fewer = faster = lost = lost_budget = ""
    if own is not dense:
        fewer = f", {dense['macs'] / own.get('macs_method', own['macs']):.2f} times fewer"
        faster = f", {_faster(result):.2f} times as fast"
        lost = f"{100 * (dense['accuracy'] - own['accuracy']):.2f}"
        lost_budget = f"{100 * (budget['accuracy'] - own['accuracy']):.2f}" if budget else ""
    epochs = " + ".join(f"{count:g}" for count in result["epochs"].values())
    cells = (
        f"[{name}](results/{name})",
        f"{100 * own['accuracy']:.2f} %",
        lost,
        lost_budget,
        f"{own.get('macs_method', own['macs']) / 1e6:.1f} M{fewer}",
        f"{own['latency_ms']['median']:.3f} ms{faster}",
        f"{own['tflite_bytes'] / 1e3:.0f} kB",
        epochs,
        str(result["seed"]),
    )
    return f"| {' | '.join(cells)} |"


def mean_row(name: str, results: Sequence[Mapping], budgets: Mapping) -> str:
    """Mean and range of runs with several seeds."""
    accuracies = [100 * result["pruned"]["accuracy"] for result in results]
    dense, mean = 100 * results[0]["dense"]["accuracy"], statistics.mean(accuracies)
    budget = budgets.get(results[0]["config"].get("start"))
    cells = (
        f"**mean of {len(results)} seeds**: {name}",
        f"{mean:.2f} % ({min(accuracies):.2f} to {max(accuracies):.2f})",
        f"{dense - mean:.2f}",
        f"{100 * budget['accuracy'] - mean:.2f}" if budget else "",
        "",
        f"{statistics.mean(_faster(result) for result in results):.2f} times as fast",
        "",
        "",
        ", ".join(str(result["seed"]) for result in results),
    )
    return f"| {' | '.join(cells)} |"


def _faster(result: Mapping) -> float:
    return result["dense"]["latency_ms"]["median"] / result["pruned"]["latency_ms"]["median"]


if __name__ == "__main__":
    print(table(ROOT / "results"))
