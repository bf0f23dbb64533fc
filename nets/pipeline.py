"""The order of a run: dense model, learner, export, equality gate, measurement, result."""

import dataclasses
import hashlib
import json
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np

from secateur import export
from secateur.learners import registry
from secateur.pruning import cost
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.training.run import Run
from secateur.training.task import Task
from secateur.training.train import train_dense, train_model
from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically

NB_PICTURES_CHECKED = 256


@dataclasses.dataclass(frozen=True)
class Where:
    """Folders: of the runs, of the dense model (or its file), of the exported files, of stages and checkpoints."""

    log_dir: str
    save_path: str
    export_dir: str | None = None
    state_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class How:
    """What a run does beside its task and its learner."""

    seed: int = 0
    precision: str = "float32"
    deterministic: bool = False
    save_step: int | None = None
    summ_step: int = 100
    same_budget: bool = False

    def config(self) -> dict:
        """The part that changes the weights that come out."""
        return {"seed": self.seed, "precision": self.precision, "deterministic": self.deterministic}


def train(task: Task, learner_name: str, config: Any, where: Where, how: How) -> None:
    """Carry out a whole run, or what is left of one, and print its table."""
    entry = registry.find(learner_name)
    if entry.learner.needs_dense:
        task = dataclasses.replace(task, pretrained=_dense_model(task, where, how))
    run = _run(task, learner_name, dataclasses.asdict(config), where, how, where.state_dir)
    result_path = run.directory / "result.json"
    with run.open():
        if not result_path.is_file():
            learner = entry.learner(config, task, run)
            learner.train()
            export.write_result(result_path, _result(task, learner_name, learner, run, where))
        result = export.read_result(result_path)
        if how.same_budget and task.pretrained and "dense_same_budget" not in result:
            result["dense_same_budget"] = _same_budget(task, where, how)
            export.write_result(result_path, result)
        print(export.table(result))


def evaluate(task: Task, learner_name: str, config: Any, where: Where, how: How) -> None:
    """Evaluate the exported files of a finished run again, Keras model and `.tflite`, and print the table."""
    entry = registry.find(learner_name)
    if entry.learner.needs_dense:
        task = dataclasses.replace(task, pretrained=_dense_path(task, where, how))
    run = _run(task, learner_name, dataclasses.asdict(config), where, how, where.state_dir)
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


def _dense_config(task: Task, how: How) -> dict:
    recipe = _recipe(task)
    used = {key: recipe[key] for key in recipe if not key.startswith("dcp_") and not key.endswith("_ft")}
    return {"task": task.name, "learner": "full-prec", "recipe": used, "data": task.load_data().name} | how.config()


def _recipe(task: Task) -> dict:
    """The part of the recipe that changes the weights."""
    recipe = dataclasses.asdict(task.recipe)
    del recipe["batch_size_eval"]
    return recipe


def _hash(config: dict) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]


def _weights_hash(task: Task) -> str:
    """Of the pretrained model's weights (its file also holds the time it was saved); "" where there is none."""
    if not task.pretrained.is_file():
        return ""
    digest = hashlib.sha256()
    for weight in load_pretrained(task).get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _run(task: Task, learner: str, config: dict, where: Where, how: How, state_dir: str | None = None) -> Run:
    """The run of a configuration: the same command finds the same folder again."""
    everything = _dense_config(task, how) | {"learner": learner}
    if task.pretrained:
        paths = ("dcp_save_path", "dcp_save_path_eval")
        kept = {key: value for key, value in config.items() if key not in paths}
        everything |= {"recipe": _recipe(task), "config": kept, "start": _weights_hash(task)}
    directory = pathlib.Path(where.log_dir) / f"{task.name}_{learner}_{_hash(everything)}"
    return Run(
        directory,
        everything,
        seed=how.seed,
        save_step=how.save_step,
        summ_step=how.summ_step,
        precision=how.precision,
        state_directory=pathlib.Path(state_dir) / directory.name if state_dir else None,
    )


def _dense_path(task: Task, where: Where, how: How) -> pathlib.Path:
    path = pathlib.Path(where.save_path)
    return path if path.suffix == ".keras" else path / f"{task.name}_{_hash(_dense_config(task, how))}.keras"


def _dense_model(task: Task, where: Where, how: How) -> pathlib.Path:
    """The pretrained model's file; where there is none the dense model is trained now."""
    path = _dense_path(task, where, how)
    if path.is_file():
        print(f"starting from the pretrained model {path}", file=sys.stderr)
        return path
    print(
        f"no pretrained model at {path}: the dense model is trained first, {task.recipe.nb_epochs:g} epochs",
        file=sys.stderr,
    )
    run = _run(task, "full-prec", {}, where, how)
    with run.open():
        export.save_keras(train_dense(task, task.load_data(), run), path)
    return path


def _same_budget(task: Task, where: Where, how: How) -> dict:
    """Scores of the dense model trained for as many more epochs as the pruned one was fine-tuned."""
    run = _run(task, "same-budget", {}, where, how)
    recipe, data = task.recipe, task.load_data()
    with run.open():
        model = to_training(load_pretrained(task), how.precision)
        model = train_model(model, task, data, run, "fine_tune", recipe.nb_epochs_ft, recipe.learning_rate_ft)
        export.save_keras(model, run.directory / "model.keras")
        return export.evaluate_keras(export.to_stock(model), data.eval_batches(recipe.batch_size_eval))


def _result(task: Task, learner_name: str, learner: Any, run: Run, where: Where) -> dict:
    """Write the exported files, check that they are equal, measure them; everything that result.json holds."""
    data = task.load_data()
    folder = pathlib.Path(where.export_dir) if where.export_dir else run.directory
    if task.pretrained:
        models = {"dense": load_pretrained(task), "pruned": export.to_stock(learner.export())}
    else:
        models = {"dense": export.to_stock(learner.export())}
    files, errors = {}, {}
    for name, model in models.items():
        files[name], errors[name] = _export(name, model, folder, data)
    export.write_labels(folder / "labels.txt", data.labels)
    if not task.pretrained and not pathlib.Path(where.save_path).suffix:
        target = pathlib.Path(where.save_path) / f"{task.name}_{_hash(run.config)}.keras"
        if not target.is_file():
            export.save_keras(models["dense"], target)
    latencies = export.measure({name: paths["tflite"] for name, paths in files.items()})
    rows = {name: _row(models[name], files[name], latencies[name], data, task) for name in models}
    facts = learner.evaluate()
    return {
        "task": task.name,
        "learner": learner_name,
        "config": run.config,
        "seed": run.seed,
        "commit": _commit(),
        "data": {"name": data.name, "train": data.nb_train, "test": data.nb_test, "sha256": data.sha256},
        "epochs": run.outputs("epochs"),
        "equivalence": {
            "masked_vs_shrunk": facts.pop("masked_vs_shrunk", None),
            "shrunk_vs_tflite": errors.get("pruned", errors["dense"]),
            "tolerance": export.TFLITE_TOLERANCE,
        },
        "seconds": run.seconds,
        "machine": export.machine_facts(),
        "files": files,
        **facts,
        **rows,
    }


def _export(name: str, model: keras.Model, folder: pathlib.Path, data: Any) -> tuple[dict[str, str], float]:
    """The `.keras` and the `.tflite` of a stock model, and the largest difference between them on test pictures."""
    stem = "dense" if name == "dense" else "model"
    paths = {"keras": folder / f"{stem}.keras", "tflite": folder / f"{stem}.tflite"}
    export.save_keras(model, paths["keras"])
    write_atomically(paths["tflite"], export.to_tflite(model))
    pictures = np.concatenate([images.numpy() for images, _ in data.eval_batches(64, NB_PICTURES_CHECKED)])
    expected = np.asarray(model(pictures, training=False))
    found = export.LiteModel(paths["tflite"]).predict(pictures)
    error = export.check_equivalence(f"{name} .keras and .tflite", expected, found, export.TFLITE_TOLERANCE)
    return {key: str(path) for key, path in paths.items()}, error


def _row(model: keras.Model, files: dict[str, str], latency: Any, data: Any, task: Task) -> dict:
    found = export.evaluate_tflite(files["tflite"], data.eval_batches(task.recipe.batch_size_eval))
    return found | {
        "params": cost.params(model),
        "macs": cost.macs(model),
        "tflite_bytes": pathlib.Path(files["tflite"]).stat().st_size,
        "latency_ms": dataclasses.asdict(latency),
    }


def _commit() -> str:
    """The commit of the program, "unknown" outside a checkout."""
    folder = pathlib.Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
