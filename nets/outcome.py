"""What a run hands over: exported files, the proof that they are equal, their measurements."""

import dataclasses
import pathlib
import subprocess
from typing import Any

import keras
import numpy as np

from secateur import export
from secateur.nets.runs import Where, hash_of
from secateur.pruning import cost
from secateur.training.pretrained import load_pretrained
from secateur.training.run import Run
from secateur.training.task import Task
from secateur.utils.files import write_atomically

NB_PICTURES_CHECKED = 256


def hand_over(task: Task, learner_name: str, learner: Any, run: Run, where: Where) -> dict:
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
        target = pathlib.Path(where.save_path) / f"{task.name}_{hash_of(run.config)}.keras"
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
