"""The order of a run: dense model, learner, export, equality gate, measurement, result."""

import dataclasses
import pathlib
import sys
from typing import Any

import keras

from secateur import export
from secateur.learners import registry
from secateur.nets.outcome import hand_over
from secateur.nets.runs import How, Where, dense_path, run_of
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.training.task import Task
from secateur.training.train import train_dense, train_model
from secateur.utils.errors import RunError


def train(task: Task, learner_name: str, config: Any, where: Where, how: How) -> None:
    """Carry out a whole run, or what is left of one, and print its table."""
    entry = registry.find(learner_name)
    if entry.learner.needs_dense:
        task = dataclasses.replace(task, pretrained=_dense_model(task, where, how))
    run = run_of(task, learner_name, dataclasses.asdict(config), where, how, where.state_dir)
    result_path = run.directory / "result.json"
    with run.open():
        if not result_path.is_file():
            learner = entry.learner(config, task, run)
            learner.train()
            export.write_result(result_path, hand_over(task, learner_name, learner, run, where))
        result = export.read_result(result_path)
        if how.same_budget and task.pretrained and "dense_same_budget" not in result:
            result["dense_same_budget"] = _same_budget(task, where, how)
            export.write_result(result_path, result)
        print(export.table(result))


def evaluate(task: Task, learner_name: str, config: Any, where: Where, how: How) -> None:
    """Evaluate the exported files of a finished run again, Keras model and `.tflite`, and print the table."""
    entry = registry.find(learner_name)
    if entry.learner.needs_dense:
        task = dataclasses.replace(task, pretrained=dense_path(task, where, how))
    run = run_of(task, learner_name, dataclasses.asdict(config), where, how, where.state_dir)
    result_path = run.directory / "result.json"
    if not result_path.is_file():
        raise RunError(f"no finished run in {run.directory}: run the same command with --exec_mode train first")
    result = export.read_result(result_path)
    data = task.load_data()
    batch_size = task.recipe.batch_size_eval
    for name in ("dense", "pruned"):
        if name in result:
            files = result["files"][name]
            model = keras.models.load_model(files["keras"], compile=False)
            result[name] |= export.evaluate_tflite(files["tflite"], data.eval_batches(batch_size))
            found = export.evaluate_keras(model, data.eval_batches(batch_size))
            print(f"{name}, Keras model: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()))
    print(export.table(result))


def _dense_model(task: Task, where: Where, how: How) -> pathlib.Path:
    """The pretrained model's file; where there is none the dense model is trained now."""
    path = dense_path(task, where, how)
    if path.is_file():
        print(f"starting from the pretrained model {path}", file=sys.stderr)
        return path
    print(
        f"no pretrained model at {path}: the dense model is trained first, {task.recipe.nb_epochs:g} epochs",
        file=sys.stderr,
    )
    run = run_of(task, "full-prec", {}, where, how)
    with run.open():
        export.save_keras(train_dense(task, task.load_data(), run), path)
    return path


def _same_budget(task: Task, where: Where, how: How) -> dict:
    """Scores of the dense model trained for as many more epochs as the pruned one was fine-tuned."""
    run = run_of(task, "same-budget", {}, where, how)
    recipe, data = task.recipe, task.load_data()
    with run.open():
        model = to_training(load_pretrained(task), how.precision)
        model = train_model(model, task, data, run, "fine_tune", recipe.nb_epochs_ft, recipe.learning_rate_ft)
        export.save_keras(model, run.directory / "model.keras")
        return export.evaluate_keras(export.to_stock(model), data.eval_batches(recipe.batch_size_eval))
