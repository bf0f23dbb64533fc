import keras
import numpy as np
import pytest

from secateur.export import evaluate_keras, evaluate_tflite, to_tflite
from secateur.export.evaluate import scores


def test_scores_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    found = scores(logits, np.array([0, 1]))
    assert found["accuracy"] == 0.5
    assert found["top5"] == 1.0
    assert found["loss"] == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)


def test_top5_counts_larger_logits():
    logits = np.arange(10.0)[None].repeat(10, axis=0)
    assert scores(logits, np.arange(10))["top5"] == 0.5


def test_large_logits_do_not_overflow():
    assert scores(np.array([[1e4, 0.0]]), np.array([1]))["loss"] == pytest.approx(1e4)


def test_batches_of_any_size_and_both_forms_agree(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    generator = np.random.default_rng(0)
    images, labels = generator.normal(size=(7, 4)).astype(np.float32), generator.integers(0, 3, 7)
    (tmp_path / "model.tflite").write_bytes(to_tflite(model))
    expected = scores(np.asarray(model(images)), labels)
    for size in (1, 3, 7):
        batches = [(images[k : k + size], labels[k : k + size]) for k in range(0, 7, size)]
        assert evaluate_keras(model, batches) == pytest.approx(expected, rel=1e-4)
        assert evaluate_tflite(tmp_path / "model.tflite", batches) == pytest.approx(expected, rel=1e-4)
