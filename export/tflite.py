"""TF Lite files: writing and running them."""

import logging
import pathlib
import warnings

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from secateur.export.stock import to_stock
from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically
from secateur.utils.streams import quiet


def to_tflite(model: keras.Model, quantize: str = "none", calibration: np.ndarray | None = None) -> bytes:
    """The model as a `.tflite` of batch size 1: pictures 0 to 255 in, logits out.

    Args:
        quantize: "none"; "float16" stores the weights in half precision; "int8" computes in 8-bit integers and takes
            uint8 pictures, or int8 where the calibration is not one of pictures 0 to 255 (logits stay float32).
        calibration: for "int8": training pictures [N, ...], whose activations set the ranges.
    """
    fixed = _with_batch_of_one(to_stock(model))
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        are_bytes = calibration.min() >= 0 and 1 < calibration.max() <= 255
        pictures = _with_full_range(calibration) if are_bytes else np.asarray(calibration, np.float32)
        converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8 if are_bytes else tf.int8
    with quiet(), warnings.catch_warnings():
        # TensorFlow asks for the ranges of the old converter, although it has the calibration.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return converter.convert()


def save_tflite(
    model: keras.Model, path: pathlib.Path, quantize: str = "none", calibration: np.ndarray | None = None
) -> None:
    """Write `to_tflite`'s file, atomically."""
    write_atomically(path, to_tflite(model, quantize, calibration))


def _with_full_range(pictures: np.ndarray) -> np.ndarray:
    """The pictures with one black and one white corner value, so that the input's scale is exactly 1."""
    flat = np.array(pictures, np.float32).reshape(len(pictures), -1)
    flat[:, 0], flat[:, -1] = 0.0, 255.0
    return flat.reshape(np.shape(pictures))


def _with_batch_of_one(model: keras.Model) -> keras.Model:
    """The same model with the batch written into its shapes, which lets LiteRT plan its memory once."""
    inputs = [keras.Input(batch_shape=(1, *t.shape[1:]), dtype=t.dtype, name=t.name) for t in model.inputs]
    packed = keras.tree.pack_sequence_as(model.input, inputs)
    return keras.Model(packed, model(packed), name=model.name)


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
        """Logits [N, K] of pictures [N, H, W, C] with values 0 to 255, one after the other."""
        logits = []
        for picture in self._quantized(pictures):
            self._interpreter.set_tensor(self._input["index"], picture[None])
            self.run()
            logits.append(self._interpreter.get_tensor(self._output["index"])[0])
        return np.stack(logits)

    def fill(self, generator: np.random.Generator) -> None:
        """Set every input, for runs whose answer does not matter: random pixel values, and 0, 1, 2, ... for numbers.

        A model of one layer alone may read the numbers of the channels that it is given, int32, beside their values.
        """
        for details in self._interpreter.get_input_details():
            shape, kind = details["shape"], details["dtype"]
            values = np.arange(np.prod(shape)) if kind == np.int32 else generator.uniform(0, 255, np.prod(shape))
            self._interpreter.set_tensor(details["index"], values.reshape(shape).astype(kind))

    def run(self) -> None:
        """One inference on the inputs that were set last."""
        self._interpreter.invoke()

    def delegated_share(self) -> float:
        """The share of the operators that a delegate (XNNPACK) runs, 0 to 1.

        A delegate's node stands beside the operators that it replaced: those between its inputs and its outputs.
        """
        nodes = self._interpreter._get_ops_details()  # LiteRT tells it nowhere else
        delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
        plain = [node for node in nodes if node["op_name"] != "DELEGATE"]
        makers = {int(tensor): node for node in plain for tensor in node["outputs"]}
        replaced: set[int] = set()
        for delegate in delegates:
            ends, wanted = set(map(int, delegate["inputs"])), list(map(int, delegate["outputs"]))
            while wanted:
                tensor = wanted.pop()
                node = makers.get(tensor)
                if node and tensor not in ends and node["index"] not in replaced:
                    replaced.add(node["index"])
                    wanted += map(int, node["inputs"])
        return len(replaced) / len(plain)

    def _quantized(self, pictures: np.ndarray) -> np.ndarray:
        kind, (scale, zero) = self._input["dtype"], self._input["quantization"]
        if not np.issubdtype(kind, np.integer):
            return np.asarray(pictures, kind)
        limits = np.iinfo(kind)
        return np.clip(np.rint(np.asarray(pictures) / scale + zero), limits.min, limits.max).astype(kind)
