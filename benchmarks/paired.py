"""Which differences between models are real: accuracy and McNemar's test on the same CIFAR-10 test pictures.

    .venv/bin/python benchmarks/paired.py --data_dir DIR a.tflite b.tflite … --out results/paired.json

Every model is compared with the first one.
"""

import argparse
import json
import pathlib

import numpy as np

from secateur import export
from secateur.datasets import cifar10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, help=".tflite files")
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="the folder of cifar-10-batches-bin")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    data = cifar10.load(args.data_dir)
    found = {str(path): export.hits(path, data.eval_batches(100)) for path in args.models}
    first, *others = found
    print(f"{100 * np.mean(found[first]):.2f} %  {first}")
    rows = []
    for name in others:
        row = export.paired(found[first], found[name])
        rows.append({"a": first, "b": name, "accuracy": float(np.mean(found[name]))} | row)
        print(f"{100 * np.mean(found[name]):.2f} %  {name}: {row['points']:+.2f} points, p = {row['p']:.3g}")
    if args.out:
        result = {"data": data.name, "accuracy": float(np.mean(found[first])), "pairs": rows}
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
