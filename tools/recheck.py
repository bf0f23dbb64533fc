"""Evaluates the committed models again: results/*/model*.tflite against the accuracies in their result.json.

    .venv/bin/python tools/recheck.py --data_dir DIR
    .venv/bin/python tools/recheck.py --latency results/latency.json     times them, in turns; on an idle machine

DIR is the folder of cifar-10-batches-bin. The exit code is 1 where a model does not give its accuracy again.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

from secateur import export
from secateur.datasets import cifar10
from secateur.datasets.arrays import ArrayDataset

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A picture whose two best logits are nearly equal may change sides on another processor.
TOLERANCE = 5e-4


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
    wrong = evaluated(args.results, cifar10.load(args.data_dir)) if args.data_dir else 0
    sys.exit(1 if wrong else 0)


def models(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The committed files: `<run>` for the float32 form of a run, `<run>/<form>` for another one."""
    found = {}
    for path in sorted(folder.glob("*/model*.tflite")):
        form = path.stem.removeprefix("model").removeprefix("_")
        found[f"{path.parent.name}/{form}" if form else path.parent.name] = path
    return found


def recorded(path: pathlib.Path) -> tuple[dict, float]:
    """The result of a model's run, and the accuracy that it says the model has."""
    result = json.loads(path.with_name("result.json").read_text())
    form = path.stem.removeprefix("model").removeprefix("_")
    own = "pruned" if "pruned" in result else "dense"
    return result, result[form or own]["accuracy"]


def evaluated(folder: pathlib.Path, data: ArrayDataset) -> int:
    """Evaluate every model on the test pictures; the number of those that differ from what was recorded."""
    wrong = 0
    for name, path in models(folder).items():
        result, accuracy = recorded(path)
        if result["data"]["sha256"] != data.sha256:
            print(f"{name}: not checked, it belongs to other pictures ({result['data']['name']})")
            continue
        found = export.evaluate_tflite(path, data.eval_batches(100))["accuracy"]
        same = abs(found - accuracy) <= TOLERANCE
        wrong += not same
        print(f"{100 * found:.2f} %  {name}{'' if same else f': {100 * accuracy:.2f} % were recorded'}")
    return wrong


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
