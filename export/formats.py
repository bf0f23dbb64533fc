"""The formats of an exported model by the names that `--export_formats` takes. A new format is one line here."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from secateur.export.equivalence import SHRUNK_TOLERANCE, TFLITE_TOLERANCE, logits_of
from secateur.export.graphs import run_graph_def, run_saved_model, save_graph_def, save_saved_model
from secateur.export.stock import save_keras
from secateur.export.tflite import LiteModel, save_tflite


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        suffix: behind the model's name.
        save: (model, path, training pictures for the calibration [N, H, W, C]).
        logits: (path, pictures [N, H, W, C], 0 to 255) to [N, K].
        tolerance: the largest difference to the Keras model that passes the gate, relative to the logits' size.
        quantile: of the pictures that the gate looks at, 1 the worst one (`check_equivalence`).
        in_integers: whether it computes in eight bits.
    """

    suffix: str
    save: Callable[[keras.Model, pathlib.Path, np.ndarray], None]
    logits: Callable[[pathlib.Path, np.ndarray], np.ndarray]
    tolerance: float
    quantile: float = 1.0
    in_integers: bool = False


def _keras_logits(path: pathlib.Path, pictures: np.ndarray) -> np.ndarray:
    return logits_of(keras.models.load_model(path, compile=False), pictures)


def _lite_logits(path: pathlib.Path, pictures: np.ndarray) -> np.ndarray:
    return LiteModel(path, threads=2).predict(pictures)


FORMATS: dict[str, Format] = {
    "keras": Format(".keras", lambda model, path, _: save_keras(model, path), _keras_logits, SHRUNK_TOLERANCE),
    "tflite": Format(".tflite", lambda model, path, _: save_tflite(model, path), _lite_logits, TFLITE_TOLERANCE),
    # Ten bits of mantissa in the weights, in some twenty layers one after the other.
    "tflite_float16": Format(
        "_float16.tflite", lambda model, path, _: save_tflite(model, path, "float16"), _lite_logits, 0.02
    ),
    # Eight bits in weights and activations: a picture that leaves the calibrated range saturates, but half of all
    # pictures within a quarter of the logits' size is what only the same network gives.
    "tflite_int8": Format(
        "_int8.tflite",
        lambda model, path, pictures: save_tflite(model, path, "int8", pictures),
        _lite_logits,
        tolerance=0.25,
        quantile=0.5,
        in_integers=True,
    ),
    "saved_model": Format("_saved_model", lambda model, path, _: save_saved_model(model, path), run_saved_model, 1e-4),
    "pb": Format(".pb", lambda model, path, _: save_graph_def(model, path), run_graph_def, 1e-4),
}
# The two that every run writes: the result is measured on them.
ALWAYS = ("keras", "tflite")


def parse_formats(names: str) -> tuple[str, ...]:
    """The formats of a comma-separated list, each once, `ALWAYS` among them, in the order of the table.

    Raises:
        ValueError: an unknown name.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    for name in sorted(wanted - set(FORMATS)):
        raise ValueError(f"--export_formats {name}: unknown; the formats are {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in wanted or name in ALWAYS)


def is_quantized(name: str) -> bool:
    """Whether a format has an accuracy of its own, to be measured beside the float32 one's."""
    return name in ("tflite_float16", "tflite_int8")
