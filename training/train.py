"""Training a model by the task's recipe: from scratch, or fine-tuning after pruning."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from secateur.training import parallel, schedules
from secateur.training.distillation import distillation_loss
from secateur.training.loop import fit
from secateur.training.precision import to_training
from secateur.training.run import Run
from secateur.training.steps import Replaced, scaled_for, sgd, train_step
from secateur.training.task import Dataset, Phase, Task


def stream_seed(run: Run, stage: str) -> int:
    """A seed for the pictures of one stage, so that no two stages see them in the same order."""
    return zlib.crc32(f"{run.seed} {stage}".encode())


class Course(NamedTuple):
    """What training by the task's recipe needs: the optimizer with its learning rates, the steps, the batches."""

    optimizer: keras.optimizers.Optimizer
    nb_steps: int
    batches: Callable[[int], Any]


def course_of(task: Task, data: Dataset, run: Run, stage: str, phase: Phase) -> Course:
    """Stochastic gradient descent for one phase; its learning rate grows with the number of workers.

    Args:
        stage: whose pictures come in an order of its own.
    """
    recipe, size = task.recipe, parallel.size()
    nb_steps = schedules.nb_steps_of(phase.nb_epochs, data.nb_train, recipe.batch_size * size)
    peak = schedules.scaled_learning_rate(phase.learning_rate, recipe.batch_size * size, recipe.batch_size_norm)
    optimizer = scaled_for(run.precision, sgd(recipe, schedules.schedule_of(phase, peak, nb_steps)))
    seed = stream_seed(run, stage)
    return Course(
        optimizer,
        nb_steps,
        lambda first_step: data.train_batches(recipe.batch_size, seed, first_step, parallel.rank(), size),
    )


def train_model(
    model: keras.Model,
    task: Task,
    data: Dataset,
    run: Run,
    stage: str,
    phase: Phase,
    norm_l1: Mapping[str, float] | None = None,
    replaced: Callable[[], Replaced] | None = None,
    trained: Sequence[keras.Variable] | None = None,
    key: object = None,
) -> keras.Model:
    """Train in place, as one stage of the run.

    Args:
        model: functional, in training form (`to_training`).
        phase: how long, at which learning rate; `task.recipe.fine_tuning`, say.
        norm_l1, replaced, trained: as for `train_step`.
        key: as for `Run.stage`.

    Returns:
        The same model.
    """
    course = course_of(task, data, run, stage, phase)
    teacher = distillation_loss(task, run.precision)
    step = train_step(model, course.optimizer, task.loss, phase.weight_decay, teacher, norm_l1, replaced, trained)

    def function() -> dict:
        fit(step, course.batches, course.nb_steps, run, stage, [*model.variables, *course.optimizer.variables])
        return {"epochs": phase.nb_epochs, "steps": course.nb_steps}

    run.stage(stage, function, model.variables, key=key)
    return model


def train_dense(task: Task, data: Dataset, run: Run) -> keras.Model:
    """The task's network, trained at full width from scratch or from published weights."""
    model = to_training(task.start.load() if task.start else task.build_model(), run.precision, run.sync_bn)
    return train_model(model, task, data, run, "dense", task.recipe.training)
