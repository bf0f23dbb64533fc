"""What every run script shares: flags, the order of a run, and one line for each error."""

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
from secateur.nets.settings import NoFlags, Settings, adapt
from secateur.training import parallel, precision
from secateur.training.run import Stopped
from secateur.training.task import Distillation, Task
from secateur.utils import gpus
from secateur.utils.errors import RunError, UsageError
from secateur.utils.flags import FlagTable

GENERAL = "Every run"
NETWORK = "This network and its data"
# What the launchers read themselves, for the first screen of --help.
LAUNCHER_HELP = (
    "Of run_local.sh, run_docker.sh and run_seven.sh: -n N workers, one to a GPU (default 1); --device=auto|cpu|gpu."
)


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
