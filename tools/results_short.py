"""The README's table: the rows that results/rows.json names, in its order and by its labels.

A row is a run, the means of its seeds where it has several, or what a run was compared with ("control").
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
            cells = _means(_with_seeds(entry["run"], results), budgets.get(entry["run"]))
        label = f"[{entry['label']}](results/{entry['run']})"
        lines.append(_line((label if "pruned" in result else f"**{label}**", *cells)))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _with_seeds(run: str, results: Mapping[str, Mapping]) -> list[Mapping]:
    """The run, and the same one with other seeds."""
    return [result for name, result in results.items() if name == run or name.startswith(f"{run}_seed")]


def _means(group: Sequence[Mapping], budget: Mapping | None) -> tuple[str, ...]:
    """Of a run, or of one with several seeds; its shape may be another one for each."""
    dense, own = [result["dense"] for result in group], [result.get("pruned", result["dense"]) for result in group]
    accuracies, lost = [100 * row["accuracy"] for row in own], ""
    mean = statistics.mean(accuracies)
    spread = f" ({min(accuracies):.2f} to {max(accuracies):.2f}, {len(accuracies)} seeds)"
    if own != dense:
        lost = f"{100 * dense[0]['accuracy'] - mean:.2f}"
        lost += f" ({100 * budget['accuracy'] - mean:.2f})" if budget else ""
    milliseconds = [[row["latency_ms"]["median"] for row in rows] for rows in (own, dense)]
    params = [row.get("params_method", row["params"]) / 1e3 for row in own], [row["params"] / 1e3 for row in dense]
    return (
        f"{mean:.2f}{spread if len(group) > 1 else ''}",
        f"{100 * statistics.mean(row['top5'] for row in own):.2f}",
        lost,
        _macs(own, dense),
        _ratio(*params, 1),
        f"{_ratio(*milliseconds, 3)}, {' and '.join(sorted(set(map(_processor, group))))}",
        _int8([result["int8"] for result in group if "int8" in result]),
        f"{statistics.mean(sum(result['seconds'].values()) for result in group) / 60:.0f}",
    )


def _int8(rows: Sequence[Mapping]) -> str:
    if not rows:
        return ""
    accuracy, size = (statistics.mean(row[key] for row in rows) for key in ("accuracy", "tflite_bytes"))
    return f"{100 * accuracy:.2f}; {statistics.mean(row['latency_ms']['median'] for row in rows):.3f}; {size / 1e3:.0f}"


def _processor(result: Mapping) -> str:
    """Its kind in a word: times compare within one."""
    cpu = result["machine"]["cpu"]
    return next((kind for kind in ("EPYC", "Xeon") if kind in cpu), cpu)


def _macs(own: Sequence[Mapping], dense: Sequence[Mapping]) -> str:
    """Counted as the method does, with what the file executes where that differs."""
    counted = [row.get("macs_method", row["macs"]) / 1e6 for row in own]
    text = _ratio(counted, [row["macs"] / 1e6 for row in dense], 1)
    executed = statistics.mean(row["macs"] for row in own) / 1e6
    return f"{text}, executed {executed:.1f}" if "macs_method" in own[0] else text


def _ratio(own: Sequence[float], dense: Sequence[float], digits: int) -> str:
    """The mean, and how many times less than the dense network's that is."""
    times = statistics.mean(whole / part for whole, part in zip(dense, own, strict=True))
    return f"{statistics.mean(own):.{digits}f}" + (f" ({times:.2f})" if own != dense else "")


def _control(name: str, result: Mapping) -> tuple[str, ...]:
    """A network of the dense or of the pruned shape, otherwise trained: its accuracy alone differs."""
    found = result[name]
    lost = f"{100 * (result['dense']['accuracy'] - found['accuracy']):.2f}"
    return (f"{100 * found['accuracy']:.2f}", f"{100 * found['top5']:.2f}", lost, *(5 * ("",)))
