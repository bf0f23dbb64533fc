"""Accuracy of exported models."""

import pathlib
from collections.abc import Callable, Iterable

import keras
import numpy as np

from secateur.export.tflite import LiteModel


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1) and mean cross-entropy of logits [N, K] and labels [N].

    A label counts as within the top five if fewer than five logits are larger than its own.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1)) + logits.max(axis=1)
    return {
        "accuracy": float(np.mean(np.argmax(logits, axis=1) == labels)),
        "top5": float(np.mean(np.sum(logits > own, axis=1) < 5)),
        "loss": float(np.mean(log_sums - own[:, 0])),
    }


def evaluate_tflite(path: pathlib.Path | str, batches: Iterable) -> dict[str, float]:
    """Scores of a `.tflite` file on (images [B, H, W, C], labels [B]) batches of any size."""
    return _evaluate(LiteModel(path, threads=2).predict, batches)


def evaluate_keras(model: keras.Model, batches: Iterable) -> dict[str, float]:
    """Scores of a Keras model on (images [B, H, W, C], labels [B]) batches of any size."""
    return _evaluate(model.predict_on_batch, batches)


def hits(path: pathlib.Path | str, batches: Iterable) -> np.ndarray:
    """Which pictures a `.tflite` file classifies correctly, [N] bool, in the order of the batches."""
    logits, labels = _logits(LiteModel(path, threads=2).predict, batches)
    return np.argmax(logits, axis=1) == labels


def _evaluate(predict: Callable[[np.ndarray], np.ndarray], batches: Iterable) -> dict[str, float]:
    return scores(*_logits(predict, batches))


def _logits(predict: Callable[[np.ndarray], np.ndarray], batches: Iterable) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = [], []
    for images, batch_labels in batches:
        logits.append(predict(np.asarray(images)))
        labels.append(np.asarray(batch_labels))
    return np.concatenate(logits), np.concatenate(labels)
