"""Evaluates the committed models again: every accuracy of the tables against the .tflite file that lies beside it.

    .venv/bin/python tools/recheck.py --data_dir DIR
    .venv/bin/python tools/recheck.py --latency results/latency.json     times them, in turns; on an idle machine

DIR is the folder of cifar-10-batches-bin. Looks into results/ and results/before_fine_tuning/. A row whose model is not
committed is named; on other pictures than a row's, its model's accuracy is printed beside the recorded one. The exit
code is 1 where a model does not give its accuracy again, and where no row could be checked.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import NamedTuple

from secateur.utils.streams import import_quietly

import_quietly()  # before what imports TensorFlow, which would begin with a page about itself

from secateur import export
from secateur.datasets import cifar10
from secateur.datasets.arrays import ArrayDataset

# What result.json says of a run beside its own model, and the file of each.
FILES = {
    "int8": "model_int8.tflite",
    "dense_same_budget": "same_budget.tflite",
    "scratch": "scratch.tflite",
}
ROOT = pathlib.Path(__file__).resolve().parent.parent
# A picture whose two best logits are nearly equal may change sides on another processor.
TOLERANCE = 5e-4
SAME, DIFFERENT, UNCHECKED = "as recorded", "different", "not checked"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "results", help="the folder of the results")
    parser.add_argument("--data_dir", type=pathlib.Path, help="CIFAR-10, to evaluate on")
    parser.add_argument("--latency", type=pathlib.Path, help="time the models and write this file")
    parser.add_argument("--threads", type=int, default=2, help="besides one thread, time with so many")
    args = parser.parse_args()
    if not args.data_dir and not args.latency:
        parser.error("nothing to do: give --data_dir, --latency or both")
    if args.latency:
        args.latency.write_text(json.dumps(timed(args.results, args.threads), indent=1) + "\n")
    if not args.data_dir:
        return
    tally = evaluated(args.results, cifar10.load(args.data_dir))
    print(", ".join(f"{count} {what}" for what, count in tally.items()))
    sys.exit(0 if tally[SAME] and not tally[DIFFERENT] else 1)


class Row(NamedTuple):
    """An accuracy that stands in a table.

    Attributes:
        path: the file that should give it again.
        accuracy, loss: what result.json says.
        data: name and checksum of the pictures.
    """

    path: pathlib.Path
    accuracy: float
    loss: float
    data: Mapping[str, str]

    @property
    def model(self) -> tuple:
        """What two runs have in common that were compared with the same model; one of them has its file."""
        return self.path.name, self.accuracy, self.loss


def rows(folder: pathlib.Path) -> dict[str, Row]:
    """`<run>` for the model of a run, `<run>/<form>` for another form of it or for what it is compared with."""
    found = {}
    for path in sorted([*folder.glob("*/result.json"), *folder.glob("*/*/result.json")]):
        name, result = str(path.parent.relative_to(folder)), json.loads(path.read_text())
        own = "pruned" if "pruned" in result else "dense"
        for key, file in {own: "model.tflite", **FILES}.items():
            if key in result:
                scores = result[key]["accuracy"], result[key]["loss"]
                found[name if key == own else f"{name}/{key}"] = Row(path.with_name(file), *scores, result["data"])
    return found


def models(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files that are there, by the names of their rows."""
    return {name: row.path for name, row in rows(folder).items() if row.path.is_file()}


def evaluated(folder: pathlib.Path, data: ArrayDataset) -> collections.Counter[str]:
    """Evaluate every model on the test pictures; how many rows are as recorded, how many not, how many unchecked."""
    tally, wanted = collections.Counter({SAME: 0, DIFFERENT: 0, UNCHECKED: 0}), rows(folder)
    there = {row.model for row in wanted.values() if row.path.is_file()}
    for name, row in wanted.items():
        if not row.path.is_file():
            if row.model not in there:
                print(f"{name}: not checked, no {row.path.name} lies there; {100 * row.accuracy:.2f} % were recorded")
                tally[UNCHECKED] += 1
            continue
        found = export.evaluate_tflite(row.path, data.eval_batches(100))["accuracy"]
        outcome, remark = _compared(row, found, data)
        tally[outcome] += 1
        print(f"{100 * found:.2f} %  {name}{remark}")
    return tally


def _compared(row: Row, found: float, data: ArrayDataset) -> tuple[str, str]:
    """How an accuracy counts, and what to say of it."""
    recorded = f"{100 * row.accuracy:.2f} % were recorded"
    if row.data["sha256"] != data.sha256:
        return UNCHECKED, f": not checked, {recorded} on other pictures, {row.data['name']}"
    same = abs(found - row.accuracy) <= TOLERANCE
    return (SAME, "") if same else (DIFFERENT, f": {recorded}")


def timed(folder: pathlib.Path, threads: int) -> dict:
    """By number of threads, the latency of each model; those of one input take turns with each other."""
    by_input: dict[tuple, dict[str, pathlib.Path]] = {}
    for name, path in models(folder).items():
        by_input.setdefault(export.LiteModel(path).input_shape, {})[name] = path
    found: dict = {"machine": export.machine_facts(), "threads": {}}
    for count in sorted({1, threads}):
        rows = {}
        for paths in by_input.values():
            rows |= {name: dataclasses.asdict(row) for name, row in export.measure(paths, count, seconds=120).items()}
        found["threads"][str(count)] = rows
        for name, row in rows.items():
            print(f"{count} threads  {row['median']:.3f} ms  {name}")
    return found


if __name__ == "__main__":
    main()
