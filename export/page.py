"""`report.html`: a finished run as one page that needs nothing else, readable offline, on a phone, light or dark."""

import html
import json
import pathlib
from collections.abc import Mapping

import keras

from secateur.export.details import layer_lines
from secateur.export.report import columns, notes
from secateur.pruning import ChannelGraph
from secateur.utils.bars import pairs_svg
from secateur.utils.charts import lines_svg
from secateur.utils.files import write_atomically

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 64rem; }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); padding: .3rem .7rem; }
td { font-variant-numeric: tabular-nums; } th { text-align: left; font-weight: 600; }
figure, .wide { margin: 1rem 0; overflow-x: auto; } figcaption { font-size: .9rem; }
svg { max-width: 100%; height: auto; min-width: 34rem; }
pre { background: var(--soft); border: 1px solid var(--line); padding: .7rem; overflow-x: auto; }
pre, code { font: 14px/1.45 ui-monospace, monospace; }
"""

LEGEND = "<p>Grey: the dense network. Green: the pruned one.</p>"

LOAD_KERAS = """import keras
import numpy as np

model = keras.models.load_model("{keras}")
pictures = np.zeros((1, {shape}), np.float32)  # values 0 to 255
print(model.predict(pictures).argmax(axis=-1))
"""
LOAD_TFLITE = """import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("{tflite}", num_threads=1)
interpreter.allocate_tensors()
(picture,) = interpreter.get_input_details()
(logits,) = interpreter.get_output_details()
interpreter.set_tensor(picture["index"], np.zeros((1, {shape}), np.float32))  # values 0 to 255
interpreter.invoke()
print(interpreter.get_tensor(logits["index"]).argmax(axis=-1))
"""


def write_page(
    path: pathlib.Path, result: Mapping, run_directory: pathlib.Path, models: Mapping[str, keras.Model]
) -> None:
    """Write the page of a result.

    Args:
        path: of the page.
        result: as in `result.json`.
        run_directory: with the metrics and the learner's pictures.
        models: the exported Keras models, "dense" and "pruned".
    """
    own = "pruned" if "pruned" in result else "dense"
    sections = [
        ("", _verdict(result) + _table(result)),
        ("Accuracy while training", _training(run_directory / "metrics.jsonl")),
        ("Channels kept", _channels(result, models)),
        ("Multiply-accumulates by layer", _bars(result, "macs", 1e6, "M")),
        ("Time by layer, each alone in LiteRT", _bars(result, "ms", 1.0, "ms")),
        ("What each layer does", _details(result)),
        *[(_title(picture), picture.read_text(encoding="utf-8")) for picture in sorted(run_directory.glob("*.svg"))],
        ("Channel groups of the dense network", ChannelGraph(models.get("dense", models[own])).svg()),
        ("Load the model", _loading(result["files"][own], models[own].input_shape[1:])),
        ("How it was made", _facts(result)),
    ]
    body = "".join(_section(title, content) for title, content in sections if content)
    title = f"{result['task']}, {result['learner']}"
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{html.escape(title)}, {html.escape(result['data']['name'])}</h1>\n{body}</body>\n</html>\n"
    )
    write_atomically(path, page.encode())


def _verdict(result: Mapping) -> str:
    """What a reader wants to know first."""
    if "pruned" not in result:
        data = html.escape(result["data"]["name"])
        return f"<p>{100 * result['dense']['accuracy']:.2f} % of the pictures right that it is tested on ({data}).</p>"
    dense, pruned = result["dense"], result["pruned"]
    lost = 100 * (dense["accuracy"] - pruned["accuracy"])
    fewer = f"{dense['macs'] / pruned['macs']:.2f} times fewer multiply-accumulates"
    if "macs_method" in pruned:
        fewer = (
            f"{dense['macs'] / pruned['macs_method']:.2f} times fewer multiply-accumulates by the method's count "
            f"({dense['macs'] / pruned['macs']:.2f} as the file executes them)"
        )
    faster = dense["latency_ms"]["median"] / pruned["latency_ms"]["median"]
    change = f"{abs(lost):.2f} points {'lost' if lost > 0 else 'gained'}" if round(lost, 2) else "no point lost"
    return f"<p><strong>{fewer}, {faster:.2f} times as fast, {change}.</strong></p>"


def _section(title: str, content: str) -> str:
    heading = f"<h2>{html.escape(title)}</h2>\n" if title else ""
    return f'<section>\n{heading}<div class="wide">{content}</div>\n</section>\n'


def _title(picture: pathlib.Path) -> str:
    return picture.stem.replace("_", " ").capitalize()


def _table(result: Mapping) -> str:
    head, *rows = columns(result)
    cells = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    cells += [
        f"<th>{html.escape(first)}</th>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in rest)
        for first, *rest in rows
    ]
    below = "".join(f"<li>{html.escape(note)}</li>" for note in notes(result))
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in cells) + f"\n</table>\n<ul>{below}</ul>"


def _training(metrics: pathlib.Path) -> str:
    """The accuracy on training batches, one line for each stage, one behind the other."""
    if not metrics.is_file():
        return ""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    series: dict[str, list[tuple[float, float]]] = {}
    begin = last = 0.0
    for line in lines:
        if "accuracy" not in line:
            continue
        if line["stage"] not in series:
            begin, series[line["stage"]] = last, []
        last = begin + line["step"]
        series[line["stage"]].append((last, line["accuracy"]))
    if not series:
        return ""
    return lines_svg("Accuracy on training batches", series, "step", "share of the pictures", from_zero=False)


def _channels(result: Mapping, models: Mapping[str, keras.Model]) -> str:
    kept = result.get("kept_channels")
    if not kept or "dense" not in models:
        return ""
    groups = ChannelGraph(models["dense"]).groups
    rows = {name: (float(groups[name].size), float(count)) for name, count in kept.items() if name in groups}
    return LEGEND + pairs_svg("Channels kept", rows, "channels")


def _bars(result: Mapping, key: str, divisor: float, unit: str) -> str:
    """Grey for the dense network, green for the pruned one; of a dense run grey alone."""
    costs = result.get("layer_costs", {})
    dense, pruned = (costs.get(name, {}) for name in ("dense", "pruned"))
    rows = {
        name: tuple(side[name][key] / divisor if key in side.get(name, {}) else None for side in (dense, pruned))
        for name in [*dense, *[name for name in pruned if name not in dense]]
    }
    rows = {name: values for name, values in rows.items() if values != (None, None)}
    return f"{LEGEND if any(pruned) else ''}{pairs_svg(key, rows, unit)}" if rows else ""


def _details(result: Mapping) -> str:
    lines = layer_lines(result)
    return f"<pre><code>{html.escape(chr(10).join(lines))}</code></pre>" if lines else ""


def _loading(files: Mapping[str, str], shape: tuple) -> str:
    shown = ", ".join(map(str, shape))
    blocks = [
        LOAD_KERAS.format(keras=pathlib.Path(files["keras"]).name, shape=shown),
        LOAD_TFLITE.format(tflite=pathlib.Path(files["tflite"]).name, shape=shown),
    ]
    return "".join(f"<pre><code>{html.escape(block)}</code></pre>\n" for block in blocks)


def _facts(result: Mapping) -> str:
    names = ("config", "seed", "commit", "data", "epochs", "seconds", "machine", "equivalence")
    facts = {name: result[name] for name in names if name in result}
    return f"<pre><code>{html.escape(json.dumps(facts, indent=2))}</code></pre>"
