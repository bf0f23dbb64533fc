"""What leaves the program: stock Keras files, `.tflite` files, proof that they are equal, their speed, the report."""

from secateur.export.compare import paired
from secateur.export.decisions import check_decisions, compared_accuracies, decision_facts
from secateur.export.details import layer_lines
from secateur.export.equivalence import (
    NB_PICTURES_CHECKED,
    SHRUNK_TOLERANCE,
    TFLITE_TOLERANCE,
    EquivalenceError,
    check_equivalence,
    check_same_logits,
    logits_of,
    share_of_flips,
)
from secateur.export.evaluate import evaluate_keras, evaluate_tflite, hits
from secateur.export.formats import ALWAYS, FORMATS, is_quantized, parse_formats
from secateur.export.latency import Latency, measure
from secateur.export.layers import layer_costs
from secateur.export.memory import peak_memory
from secateur.export.page import write_page
from secateur.export.report import machine_facts, read_result, table, write_labels, write_result
from secateur.export.shrunk import shrink_checked
from secateur.export.stock import save_keras, to_stock
from secateur.export.tflite import LiteModel, save_tflite, to_tflite
from secateur.export.widths import MULTIPLES, fastest_multiple, relative_latencies, widths_for_target

__all__ = [
    "ALWAYS",
    "FORMATS",
    "MULTIPLES",
    "NB_PICTURES_CHECKED",
    "SHRUNK_TOLERANCE",
    "TFLITE_TOLERANCE",
    "EquivalenceError",
    "Latency",
    "LiteModel",
    "check_decisions",
    "check_equivalence",
    "check_same_logits",
    "compared_accuracies",
    "decision_facts",
    "evaluate_keras",
    "evaluate_tflite",
    "fastest_multiple",
    "hits",
    "is_quantized",
    "layer_costs",
    "layer_lines",
    "logits_of",
    "machine_facts",
    "measure",
    "paired",
    "parse_formats",
    "peak_memory",
    "read_result",
    "relative_latencies",
    "save_keras",
    "save_tflite",
    "share_of_flips",
    "shrink_checked",
    "table",
    "to_stock",
    "to_tflite",
    "widths_for_target",
    "write_labels",
    "write_page",
    "write_result",
]
