"""Several runs side by side: one table, and accuracy over multiply-accumulates and over time with the Pareto front.

    .venv/bin/python tools/compare.py logs/*_dis-chn-pruned_* logs/*_stripe_* --out compared

A run is a folder with a result.json. Writes compared.md, compared.csv and compared.html, a page that opens offline.
"""

import argparse
import collections
import csv
import html
import io
import json
import math
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

from secateur.utils.files import write_atomically
from secateur.utils.scatter import Point, scatter_svg

OF_DENSE = "LiteRT, share of dense"
# Column to what a row of result.json says there; as it is in the .csv, rounded in the other two.
COLUMNS: dict[str, Callable[[Mapping], float]] = {
    "accuracy, %": lambda row: 100 * row["accuracy"],
    "top-5, %": lambda row: 100 * row["top5"],
    "MACs, M": lambda row: row.get("macs_method", row["macs"]) / 1e6,
    "MACs executed, M": lambda row: row["macs"] / 1e6,
    "parameters, k": lambda row: row.get("params_method", row["params"]) / 1e3,
    "bytes, k": lambda row: row["tflite_bytes"] / 1e3,
    "LiteRT, ms": lambda row: row["latency_ms"]["median"],
    OF_DENSE: lambda row: row["latency_ms"]["median"] / row["dense_ms"],
    "int8, %": lambda row: 100 * row["int8"]["accuracy"] if row["int8"] else math.nan,
    "int8, ms": lambda row: row["int8"]["latency_ms"]["median"] if row["int8"] else math.nan,
}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:64rem;padding:0 1rem;color-scheme:light dark}"
)
STYLE += "table{border-collapse:collapse}td,th{border-bottom:1px solid #8884;padding:.3rem .7rem;text-align:left}"
STYLE += "div{overflow-x:auto}svg{max-width:100%;min-width:34rem}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=pathlib.Path, help="folders with a result.json")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("compared"), help="name of the files, no suffix"
    )
    args = parser.parse_args()
    missing = [str(run) for run in args.runs if not (run / "result.json").is_file()]
    if missing:
        sys.exit(f"error: {missing[0]} holds no result.json: name the folders of finished runs")
    rows = rows_of(args.runs)
    for suffix, text in ((".md", markdown(rows)), (".csv", comma_separated(rows)), (".html", page(rows))):
        # Not `with_suffix`, which takes the end of "density_0.5" for a suffix.
        write_atomically(args.out.with_name(args.out.name + suffix), text.encode())
    print(markdown(rows))


def read(path: pathlib.Path) -> dict:
    """A result. Not by `export.read_result`, as importing that takes longer than all the rest."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        sys.exit(f"error: {path} is no readable result ({error}): name the folders of finished runs")


def rows_of(runs: Sequence[pathlib.Path]) -> dict[str, dict]:
    """Name to the row of result.json: each pruned model, and each dense one that they began with, once.

    A row also has its int8 form, the time of its run's dense model and the processor that both were timed on.

    Dense models are told apart by their scores, the loss among them to six digits (from processor to processor the last
    ones differ): a `full-prec` run has no checksum of a start.
    """
    dense: dict[str, dict] = {}
    found: dict[str, dict] = {}
    known = set()
    for name, run in names_of(runs).items():
        result = read(run / "result.json")
        row = result["dense"]
        common = {"dense_ms": row["latency_ms"]["median"], "cpu": result["machine"]["cpu"]}
        common["data"] = result["data"]["name"]
        scores = (result["task"], common["data"], row["accuracy"], row["top5"], round(row["loss"], 6))
        if scores not in known:
            known.add(scores)
            own = f"{result['task']}, dense, {100 * row['accuracy']:.2f} %"
            dense[f"{own}, of {name}" if own in dense else own] = row | common | {"int8": None}
        if "pruned" in result:
            found[name] = result["pruned"] | common | {"int8": result.get("int8")}
    return dense | found


def names_of(runs: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Each run by the shortest end of its path that no other one shares; one that is named twice, once."""
    paths = dict.fromkeys(run.resolve() for run in runs)
    ends = {path: ["/".join(path.parts[-k:]) for k in range(1, len(path.parts) + 1)] for path in paths}
    shared = collections.Counter(end for found in ends.values() for end in found)
    return {next(end for end in found if shared[end] == 1): path for path, found in ends.items()}


def cells(rows: Mapping[str, Mapping]) -> list[list[object]]:
    lines = [[k, name, *[read(row) for read in COLUMNS.values()]] for k, (name, row) in enumerate(rows.items(), 1)]
    return [["", "run", *COLUMNS], *lines]


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def markdown(rows: Mapping[str, Mapping]) -> str:
    lines = [[_shown(cell).replace("|", "\\|") for cell in line] for line in cells(rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), *remarks(rows)]) + "\n"


def remarks(rows: Mapping[str, Mapping]) -> list[str]:
    """What a reader has to know of the figures, in paragraphs."""
    found = []
    if len(data := _values(rows, "data")) > 1:
        found.append(f"Of several data ({', '.join(data)}): accuracies do not compare.")
    if len(cpus := _values(rows, "cpu")) > 1:
        found.append(
            f"Timed on several processors ({', '.join(cpus)}): milliseconds do not compare, shares roughly do."
        )
    if _counted(rows):
        found.append("MACs are those of a learner's own count where it has one; the file executes what stands behind.")
    return [line for remark in found for line in ("", remark)]


def _values(rows: Mapping[str, Mapping], key: str) -> list[str]:
    return sorted({row[key] for row in rows.values()})


def _counted(rows: Mapping[str, Mapping]) -> bool:
    """Whether any row has MACs by the learner's own count."""
    return any("macs_method" in row for row in rows.values())


def comma_separated(rows: Mapping[str, Mapping]) -> str:
    text = io.StringIO()
    lines = [["" if cell != cell else cell for cell in line] for line in cells(rows)]
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def page(rows: Mapping[str, Mapping]) -> str:
    head, *body = [[html.escape(_shown(cell)) for cell in line] for line in cells(rows)]
    table = "".join(f"<th>{cell}</th>" for cell in head)
    table += "".join("<tr><th>" + "<td>".join(line) for line in body)
    costs = ["MACs, M", "MACs executed, M"] if _counted(rows) else ["MACs, M"]
    costs.append(OF_DENSE if len(_values(rows, "cpu")) > 1 else "LiteRT, ms")
    pictures = "".join(
        "<div>" + scatter_svg(f"Accuracy over {name}", _points(rows, name), name, "accuracy, %") + "</div>"
        for name in costs
    )
    pictures += f"<p>{html.escape(' '.join(remarks(rows)))}</p>"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs compared</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>Runs compared</h1>'
        f"<div><table><tr>{table}</table></div>{pictures}</html>\n"
    )


def _points(rows: Mapping[str, Mapping], cost: str) -> list[Point]:
    """Each run by its number in the table."""
    values = [(COLUMNS[cost](row), COLUMNS["accuracy, %"](row)) for row in rows.values()]
    return [Point(str(k), *pair) for k, pair in enumerate(values, start=1)]


if __name__ == "__main__":
    main()
