import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.export import save_keras
from secateur.nets.resnet import resnet
from secateur.training.distillation import distillation_loss, soft_loss
from secateur.training.precision import to_training
from secateur.training.steps import sgd, train_step
from secateur.training.task import Distillation
from secateur.utils.errors import RunError
from tests.training.helpers import tiny_task

STUDENT, TEACHER = np.random.default_rng(0).normal(0, 3, (2, 6, 4))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_loss_is_the_scaled_divergence(temperature):
    t, s = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
    expected = temperature**2 * np.mean(np.sum(t * np.log(t / s), axis=1))
    assert float(soft_loss(STUDENT, TEACHER, temperature)) == pytest.approx(expected, rel=1e-4)
    assert float(soft_loss(TEACHER + 5, TEACHER, temperature)) == pytest.approx(0, abs=1e-5)


def test_gradient_is_that_of_the_papers_cross_entropy():
    student = tf.constant(STUDENT, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(student)
        loss = soft_loss(student, TEACHER, 2.0)
    expected = 2.0 * (softmax(STUDENT / 2) - softmax(TEACHER / 2)) / len(STUDENT)
    np.testing.assert_allclose(tape.gradient(loss, student), expected, rtol=1e-4, atol=1e-6)


@pytest.fixture
def task(tmp_path, randomise):
    task = tiny_task()
    save_keras(randomise(task.build_model(), seed=5), tmp_path / "teacher.keras")
    return dataclasses.replace(task, distillation=Distillation(tmp_path / "teacher.keras", 2.0, 3.0))


def test_teacher_joins_the_step_and_stays_as_it_is(task, randomise):
    model = to_training(randomise(task.build_model()))
    loss = distillation_loss(task, "float32")
    step = train_step(model, sgd(task.recipe, 0.01), task.loss, 0.0, loss)
    images, labels = next(iter(task.load_data().train_batches(16, 0)))
    teacher = keras.models.load_model(task.distillation.teacher)
    before = float(loss(images, model(images, training=False)))
    expected = 2.0 * float(soft_loss(model(images, training=False), teacher(images), 3.0))
    assert before == pytest.approx(expected, rel=1e-4)
    values = [float(step(images, labels)["distillation"]) for _ in range(30)]
    assert values[-1] < 0.7 * values[0]
    after = float(loss(images, teacher(images)))
    assert after == pytest.approx(0, abs=1e-3)


def test_no_teacher_no_loss():
    assert distillation_loss(tiny_task(), "float32") is None


def test_missing_and_foreign_teachers(task, tmp_path):
    missing = dataclasses.replace(task, distillation=Distillation(tmp_path / "none.keras"))
    with pytest.raises(RunError, match=r"no teacher at .*none\.keras: name a \.keras file with --save_path_dst"):
        distillation_loss(missing, "float32")
    save_keras(resnet((8, 8, 1), nb_classes=4, resnet_size=8), tmp_path / "other.keras")
    foreign = dataclasses.replace(task, distillation=Distillation(tmp_path / "other.keras"))
    with pytest.raises(RunError, match=r"maps \(8, 8, 1\) to \(4,\), the network \(8, 8, 1\) to \(3,\)"):
        distillation_loss(foreign, "float32")
