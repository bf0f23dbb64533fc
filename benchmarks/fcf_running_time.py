"""How much time factorized convolutional filters save in LiteRT, beside the multiply-accumulates that they save.

    .venv/bin/python benchmarks/fcf_running_time.py --out results/fcf_running_time.json

The two tables of the original description, made again: one 3x3 convolution (256 channels, 14x14) as a standard smaller
convolution and as squeeze, convolution, expand, with the share of each part; and ResNet-34 at 224 with random weights,
four rates, the group scope (as counted, and with `--channel_multiple auto`), the filter scope with each layer in its
fastest form (as counted, and with `--channel_multiple 8`) and with every layer squeezed and expanded (the original
program), the whole model and its residual stages alone, where all pruned convolutions are. One thread, batch 1, the
files of a comparison take turns, medians. Run it on an idle machine.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from turns import write

from secateur import export
from secateur.learners.fcf import squeeze
from secateur.learners.fcf.counts import nb_filters
from secateur.learners.fcf.scopes import FilterScope
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import first_channels

WIDTH, SIZE = 256, 14
LAYER_RATES = (0.14, 0.25, 0.35, 0.5)
MODEL_RATES = (0.15, 0.25, 0.35, 0.45)
MULTIPLE = 8
# Saved time over saved MACs, by scope and rate.
GOALS = {
    "group": dict(zip(MODEL_RATES, (0.75, 0.85, 0.85, 0.85), strict=True)),
    "filter": dict(zip(MODEL_RATES, (0.45, 0.6, 0.6, 0.6), strict=True)),
}
NAMES = ("group", "group_auto", "filter", f"filter_{MULTIPLE}", "squeeze")


def timed(models: dict[str, keras.Model]) -> dict[str, float]:
    """Median milliseconds of each, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: pathlib.Path(folder) / f"{name}.tflite" for name in models}
        for name, model in models.items():
            export.save_tflite(model, files[name])
        return {name: latency.median for name, latency in export.measure(files, seconds=60.0).items()}


def convolution(nb_read: int, nb_made: int, kernel: int = 3) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, nb_read), batch_size=1)
    return keras.Model(inputs, keras.layers.Conv2D(nb_made, kernel, padding="same", use_bias=False)(inputs))


def layer_row(rate: float) -> dict:
    """One convolution, a share of its filters and of its input channels removed."""
    kept = nb_filters(WIDTH, rate)
    dense, small = convolution(WIDTH, WIDTH), convolution(kept, kept)
    vector = np.zeros(WIDTH, np.float32)
    vector[np.sort(np.random.default_rng(0).permutation(WIDTH)[:kept])] = 1.0
    name = dense.layers[-1].name
    custom = squeeze.build(dense, {name: (vector, vector)}, {name: squeeze.BOTH})
    parts = {"squeeze": convolution(WIDTH, kept, 1), "conv": small, "expand": convolution(kept, WIDTH, 1)}
    found = timed({"dense": dense, "standard": small, "custom": custom} | {f"part_{k}": m for k, m in parts.items()})
    whole = sum(found[f"part_{part}"] for part in parts)
    return {
        "rate": rate,
        "macs_down": 1 - cost.macs(small) / cost.macs(dense),
        "standard_time_down": 1 - found["standard"] / found["dense"],
        "custom_time_down": 1 - found["custom"] / found["dense"],
        "shares": {part: found[f"part_{part}"] / whole for part in parts},
        "milliseconds": found,
    }


def group_models(dense: keras.Model, rate: float, folder: pathlib.Path) -> dict[str, keras.Model]:
    """Every channel group narrower by the rate, and with the multiple that is fastest."""
    groups = {name: group.size for name, group in ChannelGraph(dense).groups.items() if group.prunable}
    exact = {name: nb_filters(size, rate) for name, size in groups.items()}
    widths = {"group": exact, "group_auto": export.fastest_multiple(dense, exact, folder)["widths"]}
    return {name: shrink(dense, first_channels(found)) for name, found in widths.items()}


def filter_models(dense: keras.Model, rate: float, multiple: int, folder: pathlib.Path) -> tuple[dict, squeeze.Masks]:
    """Random filters removed in every block: the model in its fastest forms and as the original, and the masks.

    The original squeezes and expands every layer, also between the convolutions of a block.
    """
    graph, generator = ChannelGraph(dense), np.random.default_rng(0)
    scope = FilterScope(graph, "fastest")
    counts = {name: nb_filters(dense.get_layer(name).filters, rate, multiple) for name in scope.rows}
    order = {name: generator.permutation(dense.get_layer(name).filters) for name in scope.rows}
    kept = {name: np.sort(order[name][:count]).tolist() for name, count in counts.items()}
    found = squeeze.masks(graph, kept)
    masked = export.to_stock(scope.pruned(dense, kept, np.zeros(0))[0])
    small, left = squeeze.without_inner_channels(masked, found)
    models = {
        "filter": squeeze.build(small, left, squeeze.fastest_forms(small, left, folder)["forms"]),
        "squeeze": squeeze.build(masked, found, squeeze.squeezed_forms(masked, found)["forms"]),
    }
    return models, found


def stages(model: keras.Model) -> keras.Model:
    """The residual stages alone: from behind the stem's pooling to before the last pooling."""
    begin, end = model.get_layer("stem_pool").output, model.get_layer("pool").input
    inputs = keras.Input(begin.shape[1:], batch_size=1)
    return keras.Model(inputs, keras.Model(begin, end)(inputs))


def savings(dense: keras.Model, model: keras.Model, masks: squeeze.Masks | None, dense_ms: float, ms: float) -> dict:
    """What a model saves, its MACs by the paper's count where it has masks, and as executed."""
    whole, executed = cost.macs(dense), cost.macs(model)
    macs_down = 1 - (squeeze.method_macs(dense, masks) if masks else executed) / whole
    return {
        "macs_down": macs_down,
        "macs_executed_down": 1 - executed / whole,
        "time_down": 1 - ms / dense_ms,
        "time_over_macs": (1 - ms / dense_ms) / macs_down,
    }


def model_row(dense: keras.Model, rate: float, folder: pathlib.Path) -> dict:
    """ResNet-34 at one rate, in both scopes."""
    filtered, masks = filter_models(dense, rate, 1, folder)
    rounded, masks_rounded = filter_models(dense, rate, MULTIPLE, folder)
    models = {"dense": dense, **group_models(dense, rate, folder), **filtered, f"filter_{MULTIPLE}": rounded["filter"]}
    found = timed(models | {f"{name}_stages": stages(model) for name, model in models.items()})
    own = {"filter": masks, "squeeze": masks, f"filter_{MULTIPLE}": masks_rounded}
    row: dict = {"rate": rate, "milliseconds": found}
    for name in NAMES:
        model = models[name]
        inner = savings(stages(dense), stages(model), own.get(name), found["dense_stages"], found[f"{name}_stages"])
        row[name] = savings(dense, model, own.get(name), found["dense"], found[name])
        row[name] |= {"stages": inner, "goal": GOALS.get(name.partition("_")[0], {}).get(rate)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    layers = [layer_row(rate) for rate in LAYER_RATES]
    for row in layers:
        shares = ", ".join(f"{part} {100 * share:.1f} %" for part, share in row["shares"].items())
        macs, standard, custom = (100 * row[key] for key in ("macs_down", "standard_time_down", "custom_time_down"))
        print(f"layer: MACs down {macs:.1f} %, time of a standard convolution down {standard:.1f} %")
        print(f"    of squeeze, convolution, expand down {custom:.1f} % ({shares})")
    dense = resnet_ilsvrc12(34)
    with tempfile.TemporaryDirectory() as folder:
        rows = [model_row(dense, rate, pathlib.Path(folder)) for rate in MODEL_RATES]
    for row in rows:
        for name in NAMES:
            found = row[name]
            parts = (found["macs_down"], found["time_down"], found["stages"]["macs_down"], found["stages"]["time_down"])
            down = [f"{100 * share:.1f}" for share in parts]
            print(
                f"ResNet-34, rate {row['rate']}, {name}: MACs down {down[0]} %, time {down[1]} %; of the stages MACs "
                f"{down[2]} %, time {down[3]} %; time over MACs {found['time_over_macs']:.2f} (goal {found['goal']})"
            )
    write(args.out, {"layer": layers, "model": rows})


if __name__ == "__main__":
    main()
