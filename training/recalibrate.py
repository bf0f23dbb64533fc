"""Batch-norm statistics of a network that was changed without being trained."""

import itertools
from collections.abc import Iterable

import keras
import tensorflow as tf

from secateur.training import parallel
from secateur.training.run import Run
from secateur.training.task import Dataset, Task
from secateur.training.train import stream_seed

NB_BATCHES = 20


def recalibrate(model: keras.Model, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> None:
    """Replace the moving statistics of all batch norms by their mean over the batches; no weight changes.

    After pruning, a norm's statistics are those of the wider network; fine-tuning renews them in its first steps, but
    a network that is not fine-tuned would keep them.

    Args:
        model: in training form.
        batches: (images, labels), of the size that it was trained with.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for k, (images, _) in enumerate(batches):
        for norm in norms:
            norm.momentum = k / (k + 1)  # a running mean, which the first batch begins anew
        model(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def recalibrate_stage(model: keras.Model, task: Task, data: Dataset, run: Run) -> None:
    """`recalibrate` on training pictures, as the stage "recalibrate" of a run."""
    batches = data.train_batches(
        task.recipe.batch_size, stream_seed(run, "recalibrate"), 0, parallel.rank(), parallel.size()
    )

    def function() -> None:
        recalibrate(model, itertools.islice(batches, NB_BATCHES))

    # All workers take part, because synchronized norms ask each other; the primary one's statistics are kept.
    run.stage("recalibrate", function, model.variables)
