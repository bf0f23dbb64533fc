"""The form of a model that leaves the program: Keras's own layers, float32."""

import pathlib
import tempfile

import keras

from secateur.pruning.checks import check_savable
from secateur.pruning.copies import new_layer, set_weights
from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically


def to_stock(model: keras.Model) -> keras.Model:
    """A float32 copy without layers of this program, with the same layer names and weights.

    A layer of this program says what it is on the outside by a method `stock_layer()`, which gives a stock layer with
    the same weights in the same order. A user's own registered layers stay: the user's code is needed to load them.

    Raises:
        RunError: a layer of this program that cannot say it.
        UsageError: a layer that no file can hold (`check_savable`).
    """
    copy = keras.models.clone_model(model, clone_function=_stock_layer)
    set_weights(copy, model.get_weights())
    return copy


def _stock_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    check_savable(layer)
    if hasattr(layer, "stock_layer"):
        layer = layer.stock_layer()
    elif type(layer).__module__.split(".")[0] == "secateur":
        raise RunError(
            f"{layer.name} is a {type(layer).__name__} and has no stock_layer(): an exported model must load without "
            "this program"
        )
    # An operation of keras.ops that was called on a symbolic tensor has no precision of its own.
    return new_layer(layer, **({"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}))


def save_keras(model: keras.Model, path: pathlib.Path) -> None:
    """Write the model's stock form as a `.keras` file, atomically."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        to_stock(model).save(file)
        write_atomically(path, file.read_bytes())
