"""A gated convolution in LiteRT: skipping what is off against computing everything and multiplying.

    .venv/bin/python benchmarks/fbs_layers.py --out results/fbs_layers.json

3x3 convolutions at densities 0.25, 0.5 and 0.75, their inputs as dense as their outputs and compact, as a gate before
them that skips leaves them. Batch 1, one thread, the forms of a layer take turns, medians. Run it on an idle machine.
"""

import argparse
import pathlib
import tempfile

import keras
from turns import write

from secateur.export.forms import fastest_forms
from secateur.learners.fbs import choice, gated
from secateur.learners.fbs.ops import nb_winners
from secateur.nets.layers import conv_norm
from secateur.pruning.calls import record

# (channels, size of the feature map): M-CifarNet's and VGG16's.
LAYERS = ((64, 32), (128, 16), (192, 8), (128, 28), (256, 14), (512, 14), (64, 224), (128, 112), (256, 56), (512, 28))
DENSITIES = (0.25, 0.5, 0.75)


def row(width: int, size: int, density: float) -> dict:
    inputs = keras.Input((size, size, width))
    model = gated.gated(keras.Model(inputs, conv_norm(inputs, width, 3, 1, "conv")), density, "paper", 0.0)
    (call,) = record(model).calls
    plain = keras.Input((size, size, width), batch_size=1)
    own = (choice.DENSE, choice.OUTPUTS, choice.SKIP)
    forms = {form: choice.alone(call, form, nb_winners(density, width)) for form in own}
    forms["ungated"] = lambda: keras.Model(plain, conv_norm(plain, width, 3, 1, "conv"))
    with tempfile.TemporaryDirectory() as folder:
        times = fastest_forms({"conv": ("conv", forms)}, pathlib.Path(folder))["milliseconds"]["conv"]
    chosen = min(own, key=times.__getitem__)
    return {
        "channels": width,
        "size": size,
        "density": density,
        "form": chosen,
        "times_as_fast_as_gated_dense": times[choice.DENSE] / times[chosen],
        "times_as_fast_as_ungated": times["ungated"] / times[chosen],
        "milliseconds": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rows = []
    for width, size in LAYERS:
        for density in DENSITIES:
            found = row(width, size, density)
            rows.append(found)
            print(
                f"{width} channels at {size}x{size}, density {density}: {found['form']}, "
                f"{found['times_as_fast_as_ungated']:.2f} times as fast as the ungated convolution"
            )
    write(args.out, {"layers": rows})


if __name__ == "__main__":
    main()
