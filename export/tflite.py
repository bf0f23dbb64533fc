"""TF Lite files: writing and running them."""

import logging
import pathlib

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from secateur.export.stock import to_stock
from secateur.utils.errors import RunError
from secateur.utils.streams import quiet


def to_tflite(model: keras.Model) -> bytes:
    """The model as a float32 `.tflite` of batch size 1: pictures 0 to 255 in, logits out."""
    fixed = _with_batch_of_one(to_stock(model))
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet():
        return tf.lite.TFLiteConverter.from_keras_model(fixed).convert()


def _with_batch_of_one(model: keras.Model) -> keras.Model:
    """The same model with the batch written into its shapes, which lets LiteRT plan its memory once."""
    tensor = model.inputs[0]
    inputs = keras.Input(batch_shape=(1, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name)
    return keras.Model(inputs, model(inputs), name=model.name)


class LiteModel:
    """A `.tflite` file, ready to run.

    Args:
        path: of the file.
        threads: that LiteRT may use.

    Raises:
        RunError: no such file, or not a `.tflite`.
    """

    def __init__(self, path: pathlib.Path | str, threads: int = 1):
        if not pathlib.Path(path).is_file():
            raise RunError(f"no .tflite file at {path}: export it first (--exec_mode train)")
        try:
            with quiet():
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RunError(f"{path} is not a readable .tflite file ({str(error).splitlines()[0]})") from error
        self._input, self._output = (
            self._interpreter.get_input_details()[0],
            self._interpreter.get_output_details()[0],
        )
        self.input_shape = tuple(int(size) for size in self._input["shape"])

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Logits [N, K] of pictures [N, H, W, C], one after the other."""
        logits = []
        for picture in np.asarray(pictures, self._input["dtype"]):
            self._interpreter.set_tensor(self._input["index"], picture[None])
            self.run()
            logits.append(self._interpreter.get_tensor(self._output["index"])[0])
        return np.stack(logits)

    def run(self) -> None:
        """One inference on the input that was set last."""
        self._interpreter.invoke()
