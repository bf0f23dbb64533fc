"""The tables of the committed results, results/<task>_<learner>_<setting>/result.json, as they stand in the documents.

    .venv/bin/python tools/results_table.py [--write]

Prints the README's table (results/rows.json names its rows), the one of all runs and that of runs before fine-tuning
(results/before_fine_tuning; both in docs/results.md), or puts them in their places. Runs that differ in the seed alone,
`<name>` and `<name>_seed<k>`, get a row for their mean; what a run was compared with (`--enbl_same_budget`,
`--enbl_scratch`) gets one too.
"""

import argparse
import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence

from results_short import short_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A table stands behind the line `<!-- table: NAME -->` of its document.
PLACES = {"short": ROOT / "README.md", "all": ROOT / "docs/results.md", "before fine-tuning": ROOT / "docs/results.md"}
HEADER = (
    "| run | accuracy | top-5 | lost | lost, same epochs | MACs | parameters | LiteRT, 1 thread | int8 | epochs "
    "| minutes | seed |"
)
RULE = "|---|" + 11 * "---|"
CONTROLS = {
    "dense_same_budget": "the dense model, trained for {epochs} epochs more",
    "scratch": "the shape of {name} from scratch",
}


def made(name: str, folder: pathlib.Path = ROOT / "results") -> str:
    """The table of this name."""
    if name == "short":
        results = read(folder)
        return short_table(folder, results, budgets_of(results))
    return table(folder if name == "all" else folder / "before_fine_tuning")


def read(folder: pathlib.Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))}


def budgets_of(results: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """The dense model that was trained on belongs to all runs that began with the same one and trained as long."""
    found = {
        _course(result): result["dense_same_budget"] for result in results.values() if "dense_same_budget" in result
    }
    return {name: found[_course(result)] for name, result in results.items() if _course(result) in found}


def table(folder: pathlib.Path) -> str:
    """One line for each result, in the order of the folders' names, and one for each mean."""
    results = read(folder)
    budgets = budgets_of(results)
    groups: dict[str, list[Mapping]] = {}
    lines = [HEADER, RULE]
    for name, result in results.items():
        lines.append(row(name, result, budgets.get(name)))
        groups.setdefault(re.sub(r"_seed\d+$", "", name), []).append(result)
    lines += [mean_row(name, group, budgets.get(name)) for name, group in groups.items() if len(group) > 1]
    controls = [control_row(key, name, r) for key in CONTROLS for name, r in results.items() if key in r]
    return "\n".join([*lines, *dict.fromkeys(controls)])


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
        name,
        f"{100 * own['accuracy']:.2f} %",
        f"{100 * own['top5']:.2f} %",
        lost,
        lost_budget,
        f"{own.get('macs_method', own['macs']) / 1e6:.1f} M{fewer}{_executed(own)}",
        f"{own.get('params_method', own['params']) / 1e3:.1f} k",
        f"{own['latency_ms']['median']:.3f} ms{faster}",
        _int8(result),
        epochs,
        f"{sum(result['seconds'].values()) / 60:.0f}",
        str(result["seed"]),
    )
    return f"| {' | '.join(cells)} |"


def mean_row(name: str, results: Sequence[Mapping], budget: Mapping | None) -> str:
    """Mean and range of runs with several seeds."""
    accuracies = [100 * result["pruned"]["accuracy"] for result in results]
    dense, mean = 100 * results[0]["dense"]["accuracy"], statistics.mean(accuracies)
    cells = (
        f"**mean of {len(results)} seeds**: {name}",
        f"{mean:.2f} % ({min(accuracies):.2f} to {max(accuracies):.2f})",
        "",
        f"{dense - mean:.2f}",
        f"{100 * budget['accuracy'] - mean:.2f}" if budget else "",
        *("", ""),
        f"{statistics.mean(_faster(result) for result in results):.2f} times as fast",
        *("", "", ""),
        ", ".join(str(result["seed"]) for result in results),
    )
    return f"| {' | '.join(cells)} |"


def control_row(key: str, name: str, result: Mapping) -> str:
    """What the run `name` is compared with; a shape from scratch gets all epochs, those of the dense model too."""
    found, lost, epochs = result[key], "", sum(result["epochs"].values())
    if key == "scratch":
        lost = f"{100 * (result['dense']['accuracy'] - found['accuracy']):.2f}"
    cells = (
        CONTROLS[key].format(name=name, epochs=f"{epochs:g}"),
        f"{100 * found['accuracy']:.2f} %",
        f"{100 * found['top5']:.2f} %",
        lost,
        *(7 * ("",)),
        str(result["seed"]),
    )
    return f"| {' | '.join(cells)} |"


def _course(result: Mapping) -> tuple:
    """The dense model that a run began with, and for how many epochs it trained."""
    return result["config"].get("start"), sum(result["epochs"].values())


def _faster(result: Mapping) -> float:
    return result["dense"]["latency_ms"]["median"] / result["pruned"]["latency_ms"]["median"]


def _executed(row: Mapping) -> str:
    """What the file executes, where the method counts otherwise."""
    return f" ({row['macs'] / 1e6:.1f} M executed)" if "macs_method" in row else ""


def _int8(result: Mapping) -> str:
    """Accuracy and bytes of the int8 form, where there is one."""
    found = result.get("int8")
    return f"{100 * found['accuracy']:.2f} %, {found['tflite_bytes'] / 1e3:.0f} kB" if found else ""


def replaced(text: str, name: str, table: str) -> str:
    """The document's text with the table in place of the one that stands there."""
    mark = f"<!-- table: {name} -->\n\n"
    begin = text.index(mark) + len(mark)
    return text[:begin] + table + text[text.index("\n\n", begin) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into the documents")
    write = parser.parse_args().write
    for name, document in PLACES.items():
        if write:
            document.write_text(replaced(document.read_text(), name, made(name)))
        else:
            print(made(name), end="\n\n")


if __name__ == "__main__":
    main()
