"""Networks for 224x224 pictures at their pruned shapes: multiply-accumulates, parameters and LiteRT time.

    .venv/bin/python benchmarks/ilsvrc12_shapes.py --out results/ilsvrc12_shapes.json

ResNet-34, ResNet-50, MobileNet-v1 and -v2 with random weights, 30 % and 50 % of the channels inside their blocks
removed (of MobileNet-v1, which has none, of all), the widths as the ratio gives them and as `--channel_multiple auto`
takes them. One thread, batch 1, the forms of a network take turns, medians. Run it on an idle machine.
"""

import argparse
import pathlib
import tempfile

import keras
from turns import write

from secateur import export
from secateur.nets.mobilenet import mobilenet_v1, mobilenet_v2
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import Widths, first_channels, nb_kept

# Network to what builds it and the goal at 0.5: saved time over saved MACs with `--channel_multiple auto`.
NETWORKS = {
    "resnet34": (lambda: resnet_ilsvrc12(34), 0.9),
    "resnet50": (lambda: resnet_ilsvrc12(50), 0.9),
    "mobilenet_v1": (mobilenet_v1, 0.85),
    "mobilenet_v2": (mobilenet_v2, 0.85),
}
RATIOS = (0.3, 0.5)


def exact_widths(model: keras.Model, ratio: float) -> Widths:
    groups = ChannelGraph(model).groups.values()
    return {g.name: nb_kept(g.size, ratio) for g in groups if g.prunable and not g.passes_add}


def row(name: str, dense: keras.Model, ratio: float, folder: pathlib.Path) -> dict:
    exact = exact_widths(dense, ratio)
    shapes = {"exact": exact, "auto": export.fastest_multiple(dense, exact, folder)["widths"]}
    models = {"dense": dense} | {key: shrink(dense, first_channels(widths)) for key, widths in shapes.items()}
    files = {key: folder / f"{key}.tflite" for key in models}
    for key, model in models.items():
        export.save_tflite(model, files[key])
    times = {key: latency.median for key, latency in export.measure(files, seconds=60.0).items()}
    found: dict = {"network": name, "ratio": ratio, "milliseconds": times}
    for key, model in models.items():
        found[key] = {"macs": cost.macs(model), "params": cost.params(model)}
        if key != "dense":
            macs_down = 1 - cost.macs(model) / cost.macs(dense)
            found[key]["time_over_macs"] = (1 - times[key] / times["dense"]) / macs_down
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rows = []
    for name, (build, goal) in NETWORKS.items():
        dense = build()
        for ratio in RATIOS:
            with tempfile.TemporaryDirectory() as folder:
                found = row(name, dense, ratio, pathlib.Path(folder)) | ({"goal": goal} if ratio == 0.5 else {})
            rows.append(found)
            for key in ("exact", "auto"):
                fewer = found["dense"]["macs"] / found[key]["macs"]
                faster = found["milliseconds"]["dense"] / found["milliseconds"][key]
                print(f"{name} at {ratio}, {key}: {fewer:.2f} times fewer MACs, {faster:.2f} times as fast")
                print(f"    saved time over saved MACs {found[key]['time_over_macs']:.2f}")
        write(args.out, {"rows": rows})


if __name__ == "__main__":
    main()
