"""Pruning from Python, as in a notebook: a model and data in, a smaller model out."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from secateur import export
from secateur.datasets.batched import Arrays, BatchedDataset
from secateur.learners import registry
from secateur.nets import pipeline
from secateur.nets.runs import How, Where, hash_of_weights
from secateur.pruning.calls import functional
from secateur.pruning.checks import check_model
from secateur.pruning.copies import new_layer
from secateur.training import precision
from secateur.training.task import Recipe, Task, cross_entropy
from secateur.utils.errors import UsageError


class Pruned(NamedTuple):
    """The pruned model, and everything that was measured (result.json)."""

    model: keras.Model
    result: dict


def prune(
    model: keras.Model,
    train: tf.data.Dataset | Arrays,
    validation: tf.data.Dataset | Arrays,
    *,
    learner: str = "chn-pruned",
    nb_epochs: float = 10,
    learning_rate: float = 0.01,
    batch_size: int = 128,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = cross_entropy,
    directory: pathlib.Path | str = "logs",
    mixed_precision: str = "auto",
    seed: int = 0,
    **flags: Any,
) -> Pruned:
    """Prune a trained model, fine-tune it, export and measure it.

    Killed and called again with the same arguments, it goes on where it stopped.

    Args:
        model: trained, functional or Sequential, images to logits; it is not changed.
        train, validation: batches of (images, labels), or pairs of arrays (`datasets.batched`).
        learner: a name that `--learner` takes; `flags` are its flags, such as `chn_target_macs=0.5`.
        nb_epochs: of the fine-tuning.
        learning_rate: its peak, of one cycle of SGD with momentum.
        loss: (labels [B], logits [B, K]) to a scalar.
        directory: where runs lie.

    Raises:
        UsageError, RunError: in one line what is wrong and what helps.
    """
    start = functional(model)
    check_model(start, loss is cross_entropy)
    folder = pathlib.Path(directory)
    path = folder / f"{model.name}_{hash_of_weights(start)}.keras"
    if not path.is_file():
        export.save_keras(start, path)
    recipe = Recipe(nb_epochs, learning_rate, nb_epochs, learning_rate, batch_size, batch_size_norm=batch_size)
    data = BatchedDataset(train, validation)
    task = Task(
        name=f"{model.name}_at_own_data",
        build_model=lambda: keras.models.clone_model(start, clone_function=new_layer),
        load_data=lambda: data,
        recipe=recipe,
        loss=loss,
    )
    kind = precision.resolve(
        mixed_precision, bool(tf.config.list_physical_devices("GPU")), precision.cpu_has_bfloat16()
    )
    try:
        config = registry.find(learner).config(**flags)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{learner}: {error}") from None
    where = Where(log_dir=str(folder), save_path=str(path))
    result = pipeline.train(task, learner, config, where, How(seed=seed, precision=kind))
    return Pruned(keras.models.load_model(result["files"]["pruned"]["keras"], compile=False), result)
