"""`result.json` and the table that a run ends with."""

import json
import math
import os
import pathlib
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically

PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy")


def write_result(path: pathlib.Path, result: Mapping) -> None:
    """Write the result, atomically.

    Raises:
        RunError: a number in it is not finite, so that the run did not succeed.
    """
    try:
        text = json.dumps(result, indent=2, allow_nan=False)
    except ValueError as error:
        raise RunError(f"the result holds a number that is not finite ({error}); {path} is not written") from error
    write_atomically(path, (text + "\n").encode())


def read_result(path: pathlib.Path) -> dict:
    """The result of a finished run.

    Raises:
        RunError: no such file, or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(f"{path} is not a readable result ({error}): move it away and run again") from error


def write_labels(path: pathlib.Path, labels: Iterable[str]) -> None:
    """One class name per line, in the order of the logits."""
    write_atomically(path, "".join(f"{label}\n" for label in labels).encode())


def machine_facts() -> dict[str, object]:
    """What the times in a result depend on: processor, cores, versions."""
    versions: dict[str, object] = {name: metadata.version(name) for name in PACKAGES}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    } | versions


def _cpu() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(result: Mapping) -> str:
    """The result as text: one row per figure, dense beside pruned where there are both."""
    rows = columns(result)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    title = f"{result['task']}, {result['learner']}, {result['data']['name']}"
    return "\n".join([title, *lines, *notes(result)])


def columns(result: Mapping) -> list[tuple[str, ...]]:
    """The table's cells: a row of titles, then one for each figure, dense beside pruned where there are both.

    The last column is the int8 form, if there is one.
    """
    models = _models(result)
    found = [_row(result, models, *figure) for figure in _FIGURES]
    quantized = (f"{models[-1]}, int8",) if "int8" in result else ()
    return [("", *models, "" if len(models) == 1 else "change", *quantized), *[row for row in found if row]]


def _models(result: Mapping) -> list[str]:
    return [name for name in ("dense", "pruned") if name in result]


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _count(value: float) -> str:
    size, unit = next(((s, u) for s, u in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= s), (1.0, ""))
    return f"{value / size:.{0 if size == 1 else 1}f}{unit}"


def _milliseconds(latency: Mapping) -> str:
    return f"{latency['median']:.3f} ({latency['p10']:.3f} to {latency['p90']:.3f})"


def _on_threads(latency: Mapping) -> str:
    return f"{latency['median']:.3f} on {latency['threads']}"


def _points(a: float, b: float) -> str:
    return f"{100 * (b - a):+.2f} points"


def _fewer(a: float, b: float) -> str:
    return f"{a / b:.2f} times fewer" if b else "none left"


def _faster(a: Mapping, b: Mapping) -> str:
    return f"{a['median'] / b['median']:.2f} times as fast"


_FIGURES = (
    ("accuracy", "accuracy", _percent, _points),
    ("top-5", "top5", _percent, _points),
    ("loss", "loss", "{:.4f}".format, lambda a, b: f"{b - a:+.4f}"),
    ("parameters", "params", _count, _fewer),
    ("MACs", "macs", _count, _fewer),
    (".tflite bytes", "tflite_bytes", _count, _fewer),
    ("LiteRT ms, 1 thread", "latency_ms", _milliseconds, _faster),
    ("LiteRT ms, more threads", "latency_ms_threads", _on_threads, _faster),
    ("peak memory, bytes", "peak_memory_bytes", _count, _fewer),
    ("run by XNNPACK", "delegated_share", _percent, lambda a, b: ""),
)

_CONTROLS = {
    "dense_same_budget": "dense, trained for as many epochs",
    "scratch": "the pruned shape, trained from scratch for as many epochs",
}


def _row(
    result: Mapping, models: list[str], label: str, key: str, show: Callable, change: Callable
) -> tuple[str, ...] | None:
    values = [result[name].get(key) for name in models]
    if None in values:
        return None
    own = [result["int8"].get(key)] if "int8" in result else []
    quantized = ["" if value is None else show(value) for value in own]
    return (label, *map(show, values), change(*values) if len(values) == 2 else "", *quantized)


def _in_float16(result: Mapping, model: str) -> str:
    row, full = result["float16"], result[model]
    change = _points(full["accuracy"], row["accuracy"])
    share = row["tflite_bytes"] / full["tflite_bytes"]
    return (
        f"{model} in float16: {_percent(row['accuracy'])} ({change}), {_count(row['tflite_bytes'])} bytes "
        f"({_percent(share)}), {_milliseconds(row['latency_ms'])} ms"
    )


def notes(result: Mapping) -> list[str]:
    """What stands below the table: controls, quantized forms, equality, time, files."""
    models, notes = _models(result), []
    for key, title in _CONTROLS.items():
        if key in result and "pruned" in result:
            lost = 100 * (result[key]["accuracy"] - result["pruned"]["accuracy"])
            notes.append(f"{title}: {_percent(result[key]['accuracy'])}; lost against it: {lost:.2f} points")
    if "macs_method" in result.get("pruned", {}):
        dense, own = result["dense"]["macs"], result["pruned"]["macs_method"]
        notes.append(f"MACs by the method's own count: {_count(own)}, {_fewer(dense, own)}")
    if "params_method" in result.get("pruned", {}):
        dense, own = result["dense"]["params"], result["pruned"]["params_method"]
        notes.append(f"parameters by the method's own count: {_count(own)}, {_fewer(dense, own)}")
    if "macs_quantiles" in result:
        found = {name: _count(value) for name, value in result["macs_quantiles"].items()}
        notes.append(
            f"MACs by picture: least {found['least']}, 10 % below {found['p10']}, median {found['median']}, 10 % above "
            f"{found['p90']}, most {found['most']}"
        )
    notes += [_in_float16(result, models[-1])] if "float16" in result else []
    if result.get("int8_whole"):
        times = "all dense {dense:.3f} ms, the forms of float32 {chosen:.3f} ms".format(**result["int8_whole"])
        notes.append(f"in int8: {times}; the file has the faster ones")
    errors = {
        key: value for key, value in result["equivalence"].items() if isinstance(value, float) and key != "tolerance"
    }
    shown = ", ".join(f"{key.replace('_', ' ')} {value:.1e}" for key, value in errors.items() if math.isfinite(value))
    if shown:
        notes.append(f"largest difference of the logits: {shown}")
    minutes = sum(result["seconds"].values()) / 60
    notes.append(f"training and pruning took {minutes:.1f} minutes, seed {result['seed']}")
    notes += [f"{name}: {path}" for files in result["files"].values() for name, path in _file_lines(files)]
    return notes


def _file_lines(files: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(pathlib.Path(path).name, path) for path in files.values()]
