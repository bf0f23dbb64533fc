"""TensorFlow's own formats: SavedModel folders and frozen GraphDef files (.pb)."""

import functools
import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from secateur.export.equivalence import in_batches
from secateur.export.stock import to_stock
from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically
from secateur.utils.streams import quiet

INPUT, OUTPUT = "image", "logits"


def save_saved_model(model: keras.Model, path: pathlib.Path) -> None:
    """Write a SavedModel folder for any batch size; a folder that was there is replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        new, old = pathlib.Path(temporary) / "new", pathlib.Path(temporary) / "old"
        try:
            with quiet():
                to_stock(model).export(str(new), format="tf_saved_model", verbose=False)
            if path.exists():
                os.replace(path, old)
            shutil.move(new, path)
        except OSError as error:
            raise RunError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from error


def run_saved_model(path: pathlib.Path, pictures: np.ndarray) -> np.ndarray:
    """Logits [N, K] of pictures [N, H, W, C]."""
    loaded = tf.saved_model.load(str(path))  # its variables live as long as this name
    return in_batches(lambda batch: loaded.serve(tf.constant(batch, tf.float32)), pictures)


def save_graph_def(model: keras.Model, path: pathlib.Path) -> None:
    """Write the inference graph with its weights as constants: tensor "image:0" to tensor "logits:0"."""
    stock = to_stock(model)
    function = tf.function(lambda image: tf.identity(stock(image, training=False), name=OUTPUT))
    shape = stock.inputs[0].shape
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name=INPUT))
    with quiet():
        graph_def = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
    write_atomically(path, graph_def.SerializeToString())


def run_graph_def(path: pathlib.Path, pictures: np.ndarray) -> np.ndarray:
    """Logits [N, K] of pictures [N, H, W, C]."""
    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        run = functools.partial(session.run, f"{OUTPUT}:0")
        return in_batches(lambda batch: run({f"{INPUT}:0": np.asarray(batch, np.float32)}), pictures)
