"""Knowledge distillation: a trained teacher's logits as a second target.

Reference: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from secateur.training.precision import to_training
from secateur.training.pretrained import load_saved
from secateur.training.task import Task
from secateur.utils.errors import RunError

# (images [B, H, W, C], student's logits [B, K]) to a scalar.
DistillationLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def soft_loss(student_BxK: tf.Tensor, teacher_BxK: tf.Tensor, temperature: float) -> tf.Tensor:
    """T^2 * KL(softmax(t / T) || softmax(s / T)), the mean over the batch; 0 where both agree.

    T^2 keeps the gradient's size independent of the temperature. The divergence is the cross-entropy of the paper less
    the teacher's entropy, which has no gradient.
    """
    teacher = tf.cast(teacher_BxK, tf.float32) / temperature
    student = tf.cast(student_BxK, tf.float32) / temperature
    targets = tf.nn.softmax(teacher)
    difference = tf.nn.log_softmax(teacher) - tf.nn.log_softmax(student)
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(targets * difference, axis=-1))


def distillation_loss(task: Task, precision: str) -> DistillationLoss | None:
    """What the task's teacher adds to the loss; None for a task without one.

    The teacher sees the student's augmented pictures once a step, in inference mode, and is never trained.

    Raises:
        RunError: no readable teacher, or one for other pictures or classes.
    """
    wanted = task.distillation
    if wanted is None:
        return None
    teacher = to_training(_load(wanted.teacher, task), precision)
    teacher.trainable = False

    def loss(images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return wanted.weight * soft_loss(logits, teacher(images, training=False), wanted.temperature)

    return loss


def _load(path: pathlib.Path, task: Task) -> keras.Model:
    if not path.is_file():
        raise RunError(f"no teacher at {path}: name a .keras file with --save_path_dst")
    teacher = load_saved(path)
    student = task.build_model()
    shapes = [(m.input_shape, m.output_shape) for m in (teacher, student)]
    if shapes[0] != shapes[1]:
        raise RunError(
            f"the teacher {path} maps {shapes[0][0][1:]} to {shapes[0][1][1:]}, the network {shapes[1][0][1:]} to "
            f"{shapes[1][1][1:]}: choose a teacher for the same pictures and classes"
        )
    return teacher
