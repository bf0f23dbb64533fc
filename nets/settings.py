"""The flags that every run has, and what they change of a task."""

import dataclasses
from collections.abc import Callable
from typing import Any

from secateur import export
from secateur.learners import registry
from secateur.training import precision
from secateur.training.task import Task
from secateur.utils.flags import check_above_zero, check_least, option

PRECISIONS = ("auto", *precision.POLICIES)
# Flags that replace a value of the task's recipe.
RECIPE_FLAGS = {
    "nb_epochs": "nb_epochs",
    "nb_epochs_ft": "nb_epochs_ft",
    "lrn_rate": "learning_rate",
    "lrn_rate_ft": "learning_rate_ft",
    "weight_decay": "weight_decay",
    "batch_size": "batch_size",
    "batch_size_eval": "batch_size_eval",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Flags that every run has."""

    learner: str = option("full-prec", "how to prune", choices=tuple(registry.LEARNERS))
    exec_mode: str = option(
        "train", "train, prune and export, or evaluate what was exported", choices=("train", "eval")
    )
    save_path: str = option("./models", "the dense model: a .keras file, or a folder that holds one per configuration")
    save_path_eval: str | None = option(None, "where exported models go, in a folder of the run's name")
    log_dir: str = option("./logs", "runs lie here, each in a folder of its own")
    data_dir_local: str | None = option(None, "folder of the data set (default: as path.conf says, else a download)")
    batch_size: int | None = option(None, "pictures per training step (default: the task's recipe)")
    batch_size_eval: int | None = option(None, "pictures per evaluation step (default: the task's recipe)")
    nb_epochs: float | None = option(None, "epochs of training from scratch (default: the task's recipe)")
    nb_epochs_ft: float | None = option(None, "epochs of fine-tuning after pruning (default: the task's recipe)")
    nb_epochs_rat: float = option(1.0, "scales the epochs of training and fine-tuning")
    lrn_rate: float | None = option(None, "learning rate of training, its peak (default: the task's recipe)")
    lrn_rate_ft: float | None = option(None, "learning rate of fine-tuning, its peak (default: the task's recipe)")
    weight_decay: float | None = option(None, "of all training, coupled L2 (default: the task's recipe)")
    enbl_trn_val_split: bool = option(False, "hold out a tenth of the training pictures and evaluate on those")
    enbl_same_budget: bool = option(False, "also train the dense model for the epochs of the pruned one, to compare")
    enbl_scratch: bool = option(
        False, "also train the pruned shape from scratch, for as many epochs as dense and pruned model together"
    )
    enbl_dst: bool = option(False, "distill: the dense model's logits are a second target of the training")
    loss_w_dst: float = option(4.0, "factor of the distillation loss")
    tempr_dst: float = option(4.0, "temperature of the distillation loss")
    save_path_dst: str | None = option(None, "the teacher, a .keras file (default: the dense model)")
    export_formats: str = option(
        "keras,tflite",
        f"files to write, separated by commas: {', '.join(export.FORMATS)}; keras and tflite are always written",
    )
    latency_threads: int = option(1, "also measure LiteRT on so many threads")
    enbl_layer_latency: bool = option(True, "time every layer alone, for the report")
    seed: int = option(0, "of every random decision")
    deterministic: bool = option(False, "bit-identical results on one kind of machine, also after a kill; slower")
    mixed_precision: str = option(
        "auto", "of the training; auto takes what the processor is good at", choices=PRECISIONS
    )
    sync_bn: bool = option(False, "several workers: batch norms take the statistics of all workers' pictures")
    save_step: int | None = option(None, "steps between checkpoints (default: 500 steps or 2 minutes)")
    summ_step: int = option(100, "steps between two lines of metrics")
    verbose: bool = option(False, "TensorFlow's own messages, and tracebacks of errors")

    def __post_init__(self) -> None:
        check_least(self, 1, "batch_size", "batch_size_eval", "save_step", "summ_step", "latency_threads")
        check_least(self, 0, "nb_epochs", "nb_epochs_ft", "nb_epochs_rat", "weight_decay")
        check_above_zero(self, "lrn_rate", "lrn_rate_ft", "loss_w_dst", "tempr_dst")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed {self.seed}: must be 0 to 4294967295")
        if self.enbl_dst and self.learner == "full-prec" and not self.save_path_dst:
            raise ValueError("--enbl_dst: a dense network needs a teacher of its own, name it with --save_path_dst")
        export.parse_formats(self.export_formats)


@dataclasses.dataclass(frozen=True)
class NoFlags:
    """For a network without flags of its own."""


def adapt(task: Task, settings: Settings) -> Task:
    """The task with the settings that change its recipe or its data; the data are read once, when first needed."""
    recipe = task.recipe
    given = {field: getattr(settings, flag) for flag, field in RECIPE_FLAGS.items()}
    recipe = dataclasses.replace(recipe, **{field: value for field, value in given.items() if value is not None})
    rat = settings.nb_epochs_rat
    recipe = dataclasses.replace(recipe, nb_epochs=recipe.nb_epochs * rat, nb_epochs_ft=recipe.nb_epochs_ft * rat)
    if task.start and settings.nb_epochs is None:
        recipe = dataclasses.replace(recipe, nb_epochs=0)  # the published weights are the dense model
    return dataclasses.replace(task, recipe=recipe, load_data=_Once(task.load_data, settings.enbl_trn_val_split))


class _Once:
    """A loader that reads once, and holds out training pictures if asked."""

    def __init__(self, load: Callable[[], Any], hold_out: bool):
        self._load, self._hold_out, self._data = load, hold_out, None

    def __call__(self) -> Any:
        if self._data is None:
            data = self._load()
            self._data = data.hold_out(data.nb_train // 10) if self._hold_out else data
        return self._data
