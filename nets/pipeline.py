"""The order of a run: dense model, learner, export, equality gate, measurement, result."""

import contextlib
import dataclasses
import functools
import operator
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import keras

from secateur import export
from secateur.learners import registry
from secateur.learners.interface import ChecksFirst, RefusesControls
from secateur.nets import controls
from secateur.nets.outcome import hand_over
from secateur.nets.runs import How, Where, dense_path, run_of
from secateur.training import parallel
from secateur.training.pretrained import load_saved
from secateur.training.task import Task
from secateur.training.train import train_dense
from secateur.utils.errors import RunError, UsageError
from secateur.utils.files import locked


def train(task: Task, learner_name: str, config: Any, where: Where, how: How) -> dict:
    """Carry out a whole run, or what is left of one; print its table and return its result."""
    entry = registry.find(learner_name)
    refused = entry.learner.refused_controls(config) if issubclass(entry.learner, RefusesControls) else {}
    for name in set(refused).intersection(how.controls):
        raise UsageError(f"{controls.FLAGS[name]}, --learner {learner_name}: {refused[name]}; leave the flag out")
    if issubclass(entry.learner, ChecksFirst):
        entry.learner.check(config, task)
    task = _with_starts(task, _dense_model(task, where, how) if entry.learner.needs_dense else None, how)
    run = run_of(task, learner_name, dataclasses.asdict(config), where, how, where.state_dir)
    result_path = run.directory / "result.json"
    with run.open():
        result = parallel.from_primary(lambda: export.read_result(result_path) if result_path.is_file() else {})
        if not _has_all(result, how):
            learner = entry.learner(config, task, run)
            learner.train()
            run.stop_if_asked("the export")
            kept = {key: result[key] for key in controls.CONTROLS if key in result}
            result = _by_primary(
                lambda: hand_over(task, learner_name, learner, run, where, _with_formats(how, result)) | kept,
                result_path,
            )
        for name in how.controls if task.pretrained else ():
            if name not in result:
                run.stop_if_asked(name)
                pruned, nb_epochs = pathlib.Path(result["files"]["pruned"]["keras"]), sum(result["epochs"].values())
                scores = controls.CONTROLS[name](task, pruned, nb_epochs, where, how)
                result = _by_primary(functools.partial(operator.or_, result, {name: scores}), result_path)
        if parallel.is_primary():
            _write_page(result, run.directory)
            print(export.table(result))
        parallel.barrier()
    return result


def _by_primary(make: Callable[[], dict], path: pathlib.Path) -> dict:
    """A result that the primary worker makes and writes; the others wait for it."""

    def made() -> dict:
        export.write_result(path, make())
        return export.read_result(path)

    return parallel.from_primary(made)


def _write_page(result: dict, folder: pathlib.Path) -> None:
    """Draw the page, unless it is as new as the result."""
    page, made = folder / "report.html", (folder / "result.json").stat().st_mtime_ns
    if not page.is_file() or page.stat().st_mtime_ns < made:
        export.write_page(page, result, folder, _exported_models(result, folder))


def _exported_models(result: dict, folder: pathlib.Path) -> dict[str, keras.Model]:
    """The Keras models of a finished run by their names.

    Raises:
        RunError: an exported file is gone or cannot be read.
    """
    paths = [pathlib.Path(path) for files in result["files"].values() for path in files.values()]
    for path in paths:
        if not path.exists():
            raise RunError(
                f"{path} is gone: bring it back, or remove {folder / 'result.json'} and run the same command with "
                "--exec_mode train, which writes it again without training"
            )
    return {name: load_saved(pathlib.Path(files["keras"])) for name, files in result["files"].items()}


def _save_by_primary(model: keras.Model, path: pathlib.Path) -> None:
    if parallel.is_primary():
        export.save_keras(model, path)
    parallel.barrier()


def _with_starts(task: Task, dense: pathlib.Path | None, how: How) -> Task:
    """The task with its pretrained model and its teacher, the dense model unless another one is named."""
    teacher = how.distillation
    if teacher and dense and teacher.teacher == pathlib.Path():
        teacher = dataclasses.replace(teacher, teacher=dense)
    return dataclasses.replace(task, pretrained=dense, distillation=teacher)


def _has_all(result: dict, how: How) -> bool:
    """Whether a result holds what the command asks for; what is missing is made from the finished stages."""
    rows = [row for row in result.values() if isinstance(row, dict)]
    threads = {row["latency_ms_threads"]["threads"] for row in rows if "latency_ms_threads" in row}
    return bool(result) and _formats(result) >= set(how.export_formats) and how.latency_threads in {1, *threads}


def _with_formats(how: How, result: dict) -> How:
    """The formats asked for now and those that the result has already."""
    formats = export.parse_formats(",".join({*_formats(result), *how.export_formats}))
    return dataclasses.replace(how, export_formats=formats)


def _formats(result: dict) -> set[str]:
    return {key for paths in result.get("files", {}).values() for key in paths}


def evaluate(task: Task, learner_name: str, config: Any, where: Where, how: How) -> None:
    """Evaluate the exported files of a finished run again, Keras model and `.tflite`, and print the table."""
    if not parallel.is_primary():
        return
    entry = registry.find(learner_name)
    task = _with_starts(task, dense_path(task, where, how) if entry.learner.needs_dense else None, how)
    run = run_of(task, learner_name, dataclasses.asdict(config), where, how, where.state_dir)
    result_path = run.directory / "result.json"
    if not result_path.is_file():
        raise RunError(f"no finished run in {run.directory}: run the same command with --exec_mode train first")
    result = export.read_result(result_path)
    models = _exported_models(result, run.directory)
    data = task.load_data()
    batch_size = task.recipe.batch_size_eval
    for name, files in result["files"].items():
        found = export.evaluate_keras(models[name], data.eval_batches(batch_size))
        print(f"{name}, Keras model: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()))
        result[name] |= export.evaluate_tflite(files["tflite"], data.eval_batches(batch_size))
        for key in filter(export.is_quantized, files):
            result[key.removeprefix("tflite_")] |= export.evaluate_tflite(files[key], data.eval_batches(batch_size))
    print("\n".join([export.table(result), *export.layer_lines(result)]))


def _dense_model(task: Task, where: Where, how: How) -> pathlib.Path:
    """The pretrained model's file; where there is none the dense model is trained now."""
    path = dense_path(task, where, how)
    if parallel.from_primary(path.is_file):
        print(f"starting from the pretrained model {path}", file=sys.stderr)
        return path
    # Runs side by side, as those of a search, must not each train one.
    with locked(path) if parallel.is_primary() else contextlib.nullcontext():
        return _made_dense_model(path, task, where, how)


def _made_dense_model(path: pathlib.Path, task: Task, where: Where, how: How) -> pathlib.Path:
    if parallel.from_primary(path.is_file):  # another run made it in the meantime
        return path
    if task.start and not task.recipe.nb_epochs:
        _save_by_primary(task.start.load(), path)
        print(f"the published weights are kept in {path}", file=sys.stderr)
        return path
    print(
        f"no pretrained model at {path}: the dense model is trained first, {task.recipe.nb_epochs:g} epochs",
        file=sys.stderr,
    )
    run = run_of(task, "full-prec", {}, where, how)
    with run.open():
        _save_by_primary(train_dense(task, task.load_data(), run), path)
        run.stop_if_asked("the pruning")
    return path
