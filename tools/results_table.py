"""The tables of the committed results, results/<task>_<learner>_<setting>/result.json, as they stand in the documents.

    .venv/bin/python tools/results_table.py [--write]

Prints the README's table and the one of runs before fine-tuning (results/before_fine_tuning, in docs/results.md), or
puts them in their places. Runs that differ in the seed alone, `<name>` and `<name>_seed<k>`, get a row for their mean;
what a run was compared with (`--enbl_same_budget`, `--enbl_scratch`) gets one too.
"""

import argparse
import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Documents to the folder of the results that they show.
PLACES = {ROOT / "README.md": ROOT / "results", ROOT / "docs" / "results.md": ROOT / "results" / "before_fine_tuning"}
HEADER = (
    "| run | accuracy | top-5 | lost | lost, same epochs | MACs | parameters | LiteRT, 1 thread | int8 | epochs "
    "| minutes | seed |"
)
RULE = "|---|" + 11 * "---|"
CONTROLS = {
    "dense_same_budget": "the dense model, trained for {epochs} epochs more",
    "scratch": "the shape of {name} from scratch",
}


def table(folder: pathlib.Path, link: str = "results") -> str:
    """One line for each result, in the order of the folders' names, and one for each mean.

    Args:
        link: where the folder is, seen from the document; "" for no links.
    """
    results = {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))}
    # The dense model that was trained on belongs to all runs that began with the same one and trained as long.
    budgets = {_course(r): r["dense_same_budget"] for r in results.values() if "dense_same_budget" in r}
    groups: dict[str, list[Mapping]] = {}
    lines = [HEADER, RULE]
    for name, result in results.items():
        lines.append(row(name, result, budgets.get(_course(result)), link))
        groups.setdefault(re.sub(r"_seed\d+$", "", name), []).append(result)
    lines += [mean_row(name, group, budgets) for name, group in groups.items() if len(group) > 1]
    controls = [control_row(key, name, r) for key in CONTROLS for name, r in results.items() if key in r]
    return "\n".join([*lines, *dict.fromkeys(controls)])


def row(name: str, result: Mapping, budget: Mapping | None, link: str) -> str:
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
        f"[{name}]({link}/{name})" if link else name,
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


def mean_row(name: str, results: Sequence[Mapping], budgets: Mapping) -> str:
    """Mean and range of runs with several seeds."""
    accuracies = [100 * result["pruned"]["accuracy"] for result in results]
    dense, mean = 100 * results[0]["dense"]["accuracy"], statistics.mean(accuracies)
    budget = budgets.get(_course(results[0]))
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


def replaced(document: pathlib.Path, folder: pathlib.Path) -> str:
    """The document with the folder's table in place of the one that stands there."""
    text = document.read_text()
    begin = text.index(HEADER[: HEADER.index("accuracy")])
    end = text.index("\n\n", begin)
    return text[:begin] + table(folder, "results" if document.parent == ROOT else "") + text[end:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into the documents")
    for document, folder in PLACES.items():
        if parser.parse_args().write:
            document.write_text(replaced(document, folder))
        else:
            print(table(folder), end="\n\n")


if __name__ == "__main__":
    main()
