"""What a pruned model is compared with: the same epochs given to the dense one, or to the small shape from scratch."""

import dataclasses
import pathlib
from collections.abc import Callable

import keras

from secateur import export
from secateur.nets.runs import How, Where, run_of
from secateur.pruning.copies import new_layer, set_weights
from secateur.training import parallel
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained, load_saved
from secateur.training.run import Run
from secateur.training.task import Task
from secateur.training.train import stream_seed, train_model


def same_budget(task: Task, pruned: pathlib.Path, nb_epochs: float, where: Where, how: How) -> dict:
    """Scores of the dense model trained for `nb_epochs` more by the recipe of fine-tuning; never distilled."""
    task = dataclasses.replace(task, distillation=None)
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs_ft=nb_epochs))
    run = run_of(task, "same-budget", {}, where, how)
    with run.open():
        model = to_training(load_pretrained(task), how.precision, how.sync_bn)
        train_model(model, task, task.load_data(), run, "fine_tune", task.recipe.fine_tuning)
        return _scores(model, task, run)


def from_scratch(task: Task, pruned: pathlib.Path, nb_epochs: float, where: Where, how: How) -> dict:
    """Scores of the pruned model's shape with new random weights, trained for the dense model's and `nb_epochs` more.

    With the distillation of the run, if it has any.
    """
    task = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, nb_epochs_ft=nb_epochs))
    shape = load_saved(pruned)
    widths = {layer.name: layer.output.shape[-1] for layer in shape.layers}
    run = run_of(task, "scratch", {"widths": widths}, where, how)
    recipe = task.recipe
    with run.open():
        # The same random weights on every worker, and in a process that was started again.
        keras.utils.set_random_seed(stream_seed(run, "scratch"))
        model = to_training(_anew(shape), how.precision, how.sync_bn)
        phase = dataclasses.replace(recipe.training, nb_epochs=recipe.nb_epochs + recipe.nb_epochs_ft)
        train_model(model, task, task.load_data(), run, "scratch", phase)
        return _scores(model, task, run)


def _anew(shape: keras.Model) -> keras.Model:
    """The same network with new random weights; what its `Normalization` layers know of the pictures stays."""
    model = keras.models.clone_model(shape, clone_function=new_layer)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            set_weights(layer, shape.get_layer(layer.name).get_weights())
    return model


def _scores(model: keras.Model, task: Task, run: Run) -> dict:
    if not parallel.is_primary():
        return {}
    path = run.directory / "model.tflite"
    export.save_keras(model, run.directory / "model.keras")
    export.save_tflite(model, path)
    batches = task.load_data().eval_batches(task.recipe.batch_size_eval)
    return export.evaluate_tflite(path, batches) | {"file": str(path)}


FLAGS = {"dense_same_budget": "--enbl_same_budget", "scratch": "--enbl_scratch"}
# By their names in result.json; they take the pruned .keras file and the epochs that the run trained whole networks.
CONTROLS: dict[str, Callable[[Task, pathlib.Path, float, Where, How], dict]] = {
    "dense_same_budget": same_budget,
    "scratch": from_scratch,
}
