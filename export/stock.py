"""The form of a model that leaves the program: Keras's own layers, float32."""

import pathlib
import tempfile

import keras

from secateur.pruning.calls import new_layer
from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically


def to_stock(model: keras.Model) -> keras.Model:
    """A float32 copy that holds only `keras.*` classes, with the same layer names and weights.

    A layer that is not Keras's own says what it is on the outside by a method `stock_layer()`, which gives a stock
    layer with the same weights in the same order.

    Raises:
        RunError: a layer that is neither.
    """
    copy = keras.models.clone_model(model, clone_function=_stock_layer)
    copy.set_weights(model.get_weights())
    return copy


def _stock_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if type(layer).__module__.split(".")[0] != "keras":
        if not hasattr(layer, "stock_layer"):
            raise RunError(
                f"{layer.name} is a {type(layer).__name__}, not a layer of Keras, and has no stock_layer(): an "
                "exported model must load without this program"
            )
        layer = layer.stock_layer()
    # An operation of keras.ops that was called on a symbolic tensor has no precision of its own.
    return new_layer(layer, **({"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}))


def save_keras(model: keras.Model, path: pathlib.Path) -> None:
    """Write the model's stock form as a `.keras` file, atomically."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        to_stock(model).save(file)
        write_atomically(path, file.read_bytes())
