"""Where a run lies: the same command finds the same folder and the same dense model again."""

import dataclasses
import hashlib
import json
import pathlib

import keras

from secateur.training import parallel
from secateur.training.pretrained import load_pretrained, load_saved
from secateur.training.run import Run
from secateur.training.task import Distillation, Task, cross_entropy


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
    sync_bn: bool = False
    deterministic: bool = False
    save_step: int | None = None
    summ_step: int = 100
    distillation: Distillation | None = None
    controls: tuple[str, ...] = ()
    export_formats: tuple[str, ...] = ("keras", "tflite")
    latency_threads: int = 1
    layer_latency: bool = True

    def config(self) -> dict:
        """The part that changes the weights that come out."""
        workers = {"workers": parallel.size()} if parallel.size() > 1 else {}
        norms = {"sync_bn": True} if self.sync_bn else {}
        kind = {"seed": self.seed, "precision": self.precision, "deterministic": self.deterministic}
        return kind | workers | norms


def _dense_config(task: Task, how: How) -> dict:
    recipe = _recipe(task)
    used = {key: recipe[key] for key in recipe if not key.startswith("dcp_") and not key.endswith("_ft")}
    start = {"published": task.start.name} if task.start else {}
    loss = {} if task.loss is cross_entropy else {"loss": getattr(task.loss, "__qualname__", repr(task.loss))}
    fixed = {"task": task.name, "learner": "full-prec", "recipe": used, "data": task.load_data().identity}
    return fixed | start | loss | how.config()


def _recipe(task: Task) -> dict:
    """The part of the recipe that changes the weights, as JSON gives it back."""
    recipe = {key: value for key, value in dataclasses.asdict(task.recipe).items() if value is not None}
    del recipe["batch_size_eval"]
    return json.loads(json.dumps(recipe))


def hash_of(config: dict) -> str:
    """Eight hexadecimal digits that stand for a configuration in the name of a folder or file."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]


def _weights_hash(task: Task) -> str:
    """Of the pretrained model's weights (its file also holds the time it was saved)."""
    return hash_of_weights(load_pretrained(task))


def hash_of_weights(model: keras.Model) -> str:
    """The checksum of all weights, so that a run knows what it starts from."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _hash_of_file(path: pathlib.Path) -> str:
    return hash_of_weights(load_saved(path)) if path.is_file() else ""


def _distillation(wanted: Distillation) -> dict:
    """What a teacher changes: its weights, not where they lie."""
    return {"teacher": _hash_of_file(wanted.teacher), "weight": wanted.weight, "temperature": wanted.temperature}


def run_of(task: Task, learner: str, config: dict, where: Where, how: How, state_dir: str | None = None) -> Run:
    """The run of a configuration: the same command finds the same folder again."""
    everything = _dense_config(task, how) | {"learner": learner}
    if task.pretrained:
        paths = ("dcp_save_path", "dcp_save_path_eval")
        kept = {key: value for key, value in config.items() if key not in paths}
        if kept.get("warm_start"):
            kept["warm_start"] = _hash_of_file(pathlib.Path(kept["warm_start"]))
        everything |= {"recipe": _recipe(task), "config": kept, "start": _weights_hash(task)}
    if task.distillation:
        everything |= {"distillation": _distillation(task.distillation)}
    directory = pathlib.Path(where.log_dir) / f"{task.name}_{learner}_{hash_of(everything)}"
    return Run(
        directory,
        everything,
        seed=how.seed,
        save_step=how.save_step,
        summ_step=how.summ_step,
        precision=how.precision,
        sync_bn=how.sync_bn,
        state_directory=pathlib.Path(state_dir) / directory.name if state_dir else None,
    )


def dense_path(task: Task, where: Where, how: How) -> pathlib.Path:
    """The file of the dense model: `--save_path` itself, or the file of this configuration in that folder."""
    return saved_path(task, where, _dense_config(task, how))


def saved_path(task: Task, where: Where, config: dict) -> pathlib.Path:
    """Where a dense model that was trained by this configuration is kept for the runs that prune it."""
    path = pathlib.Path(where.save_path)
    return path if path.suffix == ".keras" else path / f"{task.name}_{hash_of(config)}.keras"
