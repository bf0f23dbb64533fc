"""What every run script shares: flags, the order of a run, and one line for each error."""

import dataclasses
import logging
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from errno import EDQUOT, ENOSPC
from typing import Any

import keras
import tensorflow as tf

from secateur import export
from secateur.learners import registry
from secateur.nets import pipeline, runs
from secateur.training import parallel, precision
from secateur.training.run import Stopped
from secateur.training.task import Distillation, Task
from secateur.utils import gpus
from secateur.utils.errors import RunError, UsageError
from secateur.utils.flags import FlagTable, check_above_zero, check_least, option

GENERAL = "Every run"
NETWORK = "This network and its data"
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


# What the launchers read themselves, for the first screen of --help.
LAUNCHER_HELP = (
    "Of run_local.sh, run_docker.sh and run_seven.sh: -n N workers, one to a GPU (default 1); --device=auto|cpu|gpu."
)


@dataclasses.dataclass(frozen=True)
class NoFlags:
    """For a network without flags of its own."""


def main(
    make_task: Callable[[Any, Settings], Task], network_flags: type = NoFlags, argv: Sequence[str] | None = None
) -> None:
    """Run the program on a task and exit: 0, 1 (the run failed), 2 (the command cannot be carried out), 143 (SIGTERM).

    Args:
        make_task: (network flags, settings) to the task.
        network_flags: frozen dataclass of the network's own flags.
        argv: the command line behind the program's name; default the process's.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        _run(make_task, network_flags, argv)
    except (UsageError, RunError) as error:
        if "--verbose" in argv:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
        # What an all-reduce raises when another worker is gone; that worker's own message says why.
        print(f"worker {parallel.rank()}: another worker is gone; the same command goes on", file=sys.stderr)
        sys.exit(1)
    except (OSError, tf.errors.OpError) as error:
        if "--verbose" in argv:
            traceback.print_exc()
        print(f"error: {_reason(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    except Stopped as stopped:
        print(stopped, file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        print("interrupted: the same command continues from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _reason(error: OSError | tf.errors.OpError) -> str:
    """One line about a file or a disk that failed."""
    text = str(error.message if isinstance(error, tf.errors.OpError) else error).splitlines()[0].strip()
    if isinstance(error, tf.errors.NotFoundError | FileNotFoundError):
        return f"{text}: what was there is gone; bring it back and run the same command again"
    if isinstance(error, tf.errors.ResourceExhaustedError) or getattr(error, "errno", None) in (ENOSPC, EDQUOT):
        return f"{text}: free some space and run the same command again"
    return f"{text} (--verbose says where); the same command goes on"


def _run(make_task: Callable[[Any, Settings], Task], network_flags: type, argv: Sequence[str]) -> None:
    learners = {f"--learner {name}": entry.config for name, entry in registry.LEARNERS.items()}
    table = FlagTable({GENERAL: Settings, NETWORK: network_flags, **learners})
    if {"--help", "-h", "--helpfull"} & set(argv):
        print(sys.modules[make_task.__module__].__doc__)
        summaries = {f"--learner {name}": entry.summary for name, entry in registry.LEARNERS.items()}
        print(f"{LAUNCHER_HELP}\n\nThe learners, and of each its main flag:\n{table.main_flags(summaries)}\n")
        print(f"All flags\n=========\n{table.help()}")
        return
    table.parse(argv)
    settings = table.read(GENERAL)
    chosen = f"--learner {settings.learner}"
    table.refuse_given([GENERAL, NETWORK, chosen])
    config = table.read(chosen)
    task = adapt(make_task(table.read(NETWORK), settings), settings)
    _prepare(settings)
    where = runs.Where(
        log_dir=settings.log_dir,
        save_path=settings.save_path,
        export_dir=getattr(config, "dcp_save_path_eval", None) or settings.save_path_eval,
        state_dir=getattr(config, "dcp_save_path", None),
    )
    controls = {"dense_same_budget": settings.enbl_same_budget, "scratch": settings.enbl_scratch}
    how = runs.How(
        seed=settings.seed,
        precision=precision.resolve(
            settings.mixed_precision, bool(tf.config.list_physical_devices("GPU")), precision.cpu_has_bfloat16()
        ),
        sync_bn=settings.sync_bn,
        deterministic=settings.deterministic,
        save_step=settings.save_step,
        summ_step=settings.summ_step,
        distillation=_distillation(settings),
        controls=tuple(name for name, enabled in controls.items() if enabled),
        export_formats=export.parse_formats(settings.export_formats),
        latency_threads=settings.latency_threads,
        layer_latency=settings.enbl_layer_latency,
    )
    if settings.exec_mode == "eval":
        pipeline.evaluate(task, settings.learner, config, where, how)
    else:
        pipeline.train(task, settings.learner, config, where, how)


def _distillation(settings: Settings) -> Distillation | None:
    """The teacher that was asked for; an empty path stands for the dense model, which may not exist yet."""
    if not settings.enbl_dst:
        return None
    return Distillation(pathlib.Path(settings.save_path_dst or ""), settings.loss_w_dst, settings.tempr_dst)


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


def _prepare(settings: Settings) -> None:
    """Workers, seeds, determinism and quiet, before the first operation runs."""
    if not settings.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    gpus.check_found(bool(tf.config.list_physical_devices("GPU")))
    parallel.init()
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
