"""What leaves the program: stock Keras files, `.tflite` files, proof that they are equal, their speed, the report."""

from secateur.export.equivalence import SHRUNK_TOLERANCE, TFLITE_TOLERANCE, EquivalenceError, check_equivalence
from secateur.export.evaluate import evaluate_keras, evaluate_tflite
from secateur.export.latency import Latency, measure
from secateur.export.report import machine_facts, read_result, table, write_labels, write_result
from secateur.export.stock import save_keras, to_stock
from secateur.export.tflite import LiteModel, to_tflite

__all__ = [
    "SHRUNK_TOLERANCE",
    "TFLITE_TOLERANCE",
    "EquivalenceError",
    "Latency",
    "LiteModel",
    "check_equivalence",
    "evaluate_keras",
    "evaluate_tflite",
    "machine_facts",
    "measure",
    "read_result",
    "save_keras",
    "table",
    "to_stock",
    "to_tflite",
    "write_labels",
    "write_result",
]
