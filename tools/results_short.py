"""The README's table: the rows that results/rows.json names, in its order and by its labels.

A row is a run, with the mean of its seeds where it has several, or what a run was compared with ("control").
"""

import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence

COLUMNS = (
    "network, learner",
    "accuracy, %",
    "top-5, %",
    "points lost",
    "MACs, M (times fewer)",
    "parameters, k (times fewer)",
    "LiteRT, ms (times as fast)",
    "int8: accuracy, %; ms; kB",
    "minutes",
)


def short_table(folder: pathlib.Path, results: Mapping[str, Mapping], budgets: Mapping[str, Mapping]) -> str:
    """The table.

    Args:
        folder: that holds `rows.json`.
        results: `result.json` of each run, by the name of its folder.
        budgets: by the same names, the evaluation of the dense model trained for as many epochs more.
    """
    lines = [_line(COLUMNS), _line(("---",) * len(COLUMNS))]
    for entry in json.loads((folder / "rows.json").read_text(encoding="utf-8")):
        result = results[entry["run"]]
        if "control" in entry:
            cells = _control(entry["control"], result)
        else:
            cells = _run(result, _accuracies(entry["run"], results), budgets.get(entry["run"]))
        label = f"[{entry['label']}](results/{entry['run']})"
        lines.append(_line((label if "pruned" in result else f"**{label}**", *cells)))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _accuracies(run: str, results: Mapping[str, Mapping]) -> list[float]:
    """In percent, of the run and of the same one with other seeds."""
    seeds = [name for name in results if name == run or name.startswith(f"{run}_seed")]
    return [100 * results[name].get("pruned", results[name]["dense"])["accuracy"] for name in seeds]


def _run(result: Mapping, accuracies: Sequence[float], budget: Mapping | None) -> tuple[str, ...]:
    dense, own = result["dense"], result.get("pruned", result["dense"])
    mean, lost = statistics.mean(accuracies), ""
    spread = f" ({min(accuracies):.2f} to {max(accuracies):.2f}, {len(accuracies)} seeds)"
    if own is not dense:
        lost = f"{100 * dense['accuracy'] - mean:.2f}"
        lost += f" ({100 * budget['accuracy'] - mean:.2f})" if budget else ""
    return (
        f"{mean:.2f}{spread if len(accuracies) > 1 else ''}",
        f"{100 * own['top5']:.2f}",
        lost,
        _macs(own, dense),
        _ratio(own.get("params_method", own["params"]) / 1e3, dense["params"] / 1e3, 1),
        f"{_ratio(own['latency_ms']['median'], dense['latency_ms']['median'], 3)}, {_processor(result)}",
        _int8(result["int8"]) if "int8" in result else "",
        f"{sum(result['seconds'].values()) / 60:.0f}",
    )


def _int8(row: Mapping) -> str:
    return f"{100 * row['accuracy']:.2f}; {row['latency_ms']['median']:.3f}; {row['tflite_bytes'] / 1e3:.0f}"


def _processor(result: Mapping) -> str:
    """Its kind in a word: times compare within one."""
    cpu = result["machine"]["cpu"]
    return next((kind for kind in ("EPYC", "Xeon") if kind in cpu), cpu)


def _macs(own: Mapping, dense: Mapping) -> str:
    """Counted as the method does, with what the file executes where that differs."""
    text = _ratio(own.get("macs_method", own["macs"]) / 1e6, dense["macs"] / 1e6, 1)
    return f"{text}, executed {own['macs'] / 1e6:.1f}" if "macs_method" in own else text


def _ratio(own: float, dense: float, digits: int) -> str:
    return f"{own:.{digits}f}" if own == dense else f"{own:.{digits}f} ({dense / own:.2f})"


def _control(name: str, result: Mapping) -> tuple[str, ...]:
    """A network of the dense or of the pruned shape, otherwise trained: its accuracy alone differs."""
    found = result[name]
    lost = f"{100 * (result['dense']['accuracy'] - found['accuracy']):.2f}"
    return (f"{100 * found['accuracy']:.2f}", f"{100 * found['top5']:.2f}", lost, *(5 * ("",)))
