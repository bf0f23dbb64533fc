"""What a run hands over: exported files, the proof that they are equal, their measurements."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import subprocess
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import keras
import numpy as np

from secateur import export
from secateur.learners.interface import DecidesByPicture, HasLiteForms
from secateur.nets.runs import How, Where, saved_path
from secateur.pruning import cost
from secateur.training.pretrained import load_pretrained
from secateur.training.run import Run
from secateur.training.task import Dataset, Task
from secateur.utils.files import write_atomically

NB_PICTURES_CALIBRATION = 512
RUNTIME = "ai-edge-litert"


def hand_over(task: Task, learner_name: str, learner: Any, run: Run, where: Where, how: How) -> dict:
    """Write the exported files, check that they are equal, measure them; everything that result.json holds."""
    data = task.load_data()
    # A folder of the run's own, so that no run overwrites the files of another.
    folder = pathlib.Path(where.export_dir) / run.directory.name if where.export_dir else run.directory
    models = {"pruned" if task.pretrained else "dense": export.to_stock(learner.export())}
    (own,) = models
    if task.pretrained:
        models = {"dense": load_pretrained(task), **models}
    files, errors, decided = {}, {}, {}
    for name, model in models.items():
        forms = _Forms(model)
        if name == own and isinstance(learner, HasLiteForms):
            margins = learner.margins if isinstance(learner, DecidesByPicture) else None
            forms = _Forms(model, learner.export_lite, margins)
        names = how.export_formats if name == own else export.ALWAYS
        files[name], errors[name], decided[name] = _export(name, forms, folder, names, data, run.seed)
    export.write_labels(folder / "labels.txt", data.labels)
    if not task.pretrained and not (saved := saved_path(task, where, run.config)).is_file():
        export.save_keras(models["dense"], saved)
    facts = learner.evaluate()
    plan = facts.pop("plan", {})
    if plan:
        write_atomically(folder / "plan.json", (json.dumps(plan) + "\n").encode())
        facts["kept_channels"] = {name: len(channels) for name, channels in plan.items()}
    counted = {key: facts.pop(key) for key in ("macs", "macs_method", "params_method") if key in facts}
    measured = _measured(models, files, data, task, how, run)
    measured[own] |= counted
    costs = {name: export.layer_costs(model, how.layer_latency) for name, model in models.items()}
    told = facts.pop("layer_costs", {})
    if told:
        keys = ("macs", "ms") if how.layer_latency else ("macs",)
        merged = {name: {**costs[own].get(name, {}), **row} for name, row in told.items()}
        costs[own] = {name: {key: row[key] for key in keys if key in row} for name, row in merged.items()}
    if decided[own]:
        batches = data.eval_batches(task.recipe.batch_size_eval)
        of_model = export.evaluate_keras(models[own], batches)["accuracy"]
        decided[own]["test_accuracy"] = export.compared_accuracies(of_model, measured[own]["accuracy"])
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
            "shrunk_vs_tflite": errors[own]["tflite"],
            "tolerance": export.TFLITE_TOLERANCE,
            "formats": errors[own],
            **({"decisions": decided[own]} if decided[own] else {}),
        },
        "seconds": run.seconds,
        "machine": export.machine_facts(),
        "files": files,
        "layer_costs": costs,
        **facts,
        **measured,
    }


class _Forms(NamedTuple):
    """A stock model; what makes the one for LiteRT where that is another, with the pictures of the calibration for a
    file in eight bits; how clear its decisions are, for one that decides picture by picture.
    """

    model: keras.Model
    lite: Callable[[np.ndarray | None], keras.Model] | None = None
    margins: Callable[[np.ndarray], np.ndarray] | None = None


def _export(
    name: str, forms: _Forms, folder: pathlib.Path, formats: tuple[str, ...], data: Dataset, seed: int
) -> tuple[dict[str, str], dict[str, float], dict]:
    """The files of a stock model by format, how far each one's logits on test pictures are from the model's, and the
    `decision_facts` of a network that decides picture by picture.
    """
    stem = "dense" if name == "dense" else "model"
    calibration = data.pictures(NB_PICTURES_CALIBRATION, seed)
    batches = list(data.eval_batches(64, export.NB_PICTURES_CHECKED))
    pictures, labels = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*batches, strict=True))
    expected = export.logits_of(forms.model, pictures)
    margins = forms.margins(pictures) if forms.margins else None
    paths, errors, logits = {}, {}, {}
    for key in formats:
        kind = export.FORMATS[key]
        path = folder / f"{stem}{kind.suffix}"
        model = forms.model
        if forms.lite and key.startswith("tflite"):
            model = forms.lite(calibration if kind.in_integers else None)
        kind.save(model, path, calibration)
        logits[key] = kind.logits(path, pictures)
        errors[key] = _check(f"{name} model and its {key} file", key, expected, logits[key], margins)
        paths[key] = str(path)
    return paths, errors, {} if margins is None else export.decision_facts(expected, logits, margins, labels)


def _check(title: str, key: str, expected: np.ndarray, found: np.ndarray, margins: np.ndarray | None) -> float:
    """The gate that suits a format and, where there are margins, a network that decides picture by picture."""
    kind = export.FORMATS[key]
    if margins is None:
        return export.check_equivalence(title, expected, found, kind.tolerance, kind.quantile)
    if export.is_quantized(key):  # rounded weights turn many decisions
        return export.check_equivalence(title, expected, found, kind.tolerance, quantile=0.5)
    return export.check_decisions(title, expected, found, kind.tolerance, margins)


def _measured(models: dict, files: dict, data: Dataset, task: Task, how: How, run: Run) -> dict:
    """One entry for each model, and one for each quantized form: accuracy, size, speed, memory.

    Scores are kept under the file's checksum: evaluating picture by picture takes an hour on large data sets, which a
    kill must not repeat, nor every run that began with the same dense model.
    """
    lite = {name: paths["tflite"] for name, paths in files.items()}
    for paths in files.values():
        lite |= {key.removeprefix("tflite_"): path for key, path in paths.items() if export.is_quantized(key)}
    latencies = {threads: export.measure(lite, threads) for threads in sorted({1, how.latency_threads})}
    rows: dict[str, dict] = {}
    for name, path in lite.items():
        key = [hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest(), data.identity, metadata.version(RUNTIME)]
        batches = data.eval_batches(task.recipe.batch_size_eval)
        rows[name] = run.shared("scores", key, functools.partial(export.evaluate_tflite, path, batches))
        if name in models:
            rows[name] |= {"params": cost.params(models[name]), "macs": cost.macs(models[name])}
        rows[name] |= {
            "tflite_bytes": pathlib.Path(path).stat().st_size,
            "latency_ms": dataclasses.asdict(latencies[1][name]),
            "peak_memory_bytes": export.peak_memory(path),
            "delegated_share": export.LiteModel(path).delegated_share(),
        }
        if how.latency_threads > 1:
            rows[name]["latency_ms_threads"] = dataclasses.asdict(latencies[how.latency_threads][name])
    return rows


def _commit() -> str:
    """The commit of the program, "unknown" outside a checkout."""
    folder = pathlib.Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
