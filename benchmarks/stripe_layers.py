"""A 3x3 convolution with dead stripes in each exact form against the dense kernel, in LiteRT.

    .venv/bin/python benchmarks/stripe_layers.py --out results/stripe_layers.json

Stripes die at random at the given density, which is the hardest case, or as learned shapes leave them: half of the
filters, the outer rows of every kernel, both. One thread, batch 1, the forms of a layer take turns, medians. Run it on
an idle machine.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from turns import write

from secateur.export import measure, save_tflite
from secateur.export.forms import fastest_forms
from secateur.learners.stripe.forms import DENSE, forms_of

# Channels and the size of their feature map, as in networks for 224x224 pictures.
LAYERS = {64: 56, 128: 28, 256: 14, 512: 7}
# Density to how many times as fast as dense the chosen form should be.
GOALS = {0.1: 4.5, 0.25: 1.7, 0.5: 1.0, 0.75: 1.0}


def convolution(width: int, size: int, live: np.ndarray) -> keras.layers.Conv2D:
    layer = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)
    layer.build((1, size, size, width))
    layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape) * live)
    return layer


def cases(width: int) -> list[tuple[str, float, np.ndarray]]:
    """Which stripes live, [3, 3, 1, C], with the name of the pattern and its density."""
    random = np.random.default_rng(1).random((3, 3, 1, width))
    filters, rows = np.ones_like(random), np.zeros_like(random)
    filters[..., ::2] = 0
    rows[1] = 1
    shapes = {"filters": filters, "rows": rows, "filters and rows": filters * rows}
    found = [("random", density, random < density) for density in GOALS]
    return found + [(name, float(live.mean()), live) for name, live in shapes.items()]


def row(width: int, size: int, pattern: str, density: float, live: np.ndarray) -> dict:
    layer = convolution(width, size, live)

    def alone(form: str) -> keras.Model:
        inputs = keras.Input((size, size, width), batch_size=1)
        return keras.Model(inputs, forms_of(layer)[form](inputs))

    forms = {form: (lambda form=form: alone(form)) for form in forms_of(layer)}
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        found = fastest_forms({"layer": ("layer", forms)}, folder)
        times, chosen = found["milliseconds"]["layer"], found["forms"]["layer"]
        # Once more: the shortest of several times is shorter than it will be again.
        files = {form: folder / f"again_{form}.tflite" for form in {DENSE, chosen}}
        for form, file in files.items():
            save_tflite(forms[form](), file)
        again = {form: latency.median for form, latency in measure(files, seconds=5.0).items()}
    return {
        "channels": width,
        "size": size,
        "pattern": pattern,
        "density": density,
        "form": chosen,
        "times_as_fast": again[DENSE] / again[chosen],
        "goal": GOALS[density] if pattern == "random" else 1.0,
        "milliseconds": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rows = [row(width, size, *case) for width, size in LAYERS.items() for case in cases(width)]
    for found in rows:
        times = ", ".join(f"{form} {value:.3f} ms" for form, value in found["milliseconds"].items())
        print(
            f"{found['channels']} channels, {100 * found['density']:.0f} % of the stripes ({found['pattern']}): "
            f"{found['form']}, {found['times_as_fast']:.2f} times as fast (goal {found['goal']}); {times}"
        )
    write(args.out, {"layers": rows})


if __name__ == "__main__":
    main()
