"""The one training loop."""

import time
import zlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.training import parallel
from secateur.training.run import Run, Stopped
from secateur.training.steps import Step
from secateur.utils.errors import RunError

STEPS_BETWEEN_QUESTIONS = 10

# Called after each step with the number of steps done.
Callback = Callable[[int], None]


class NonFiniteLoss(RunError):
    """The loss, or what its last step made of the weights, became infinite or not a number."""


REMEDY = "the checkpoint before is kept; lower the learning rate or choose --mixed_precision float32"


def fit(
    step: Step,
    batches: Callable[[int], tf.data.Dataset],
    nb_steps: int,
    run: Run,
    stage: str,
    variables: Sequence[keras.Variable],
    callbacks: Sequence[Callback] = (),
) -> None:
    """Call `step` on each batch until `nb_steps` are done, from the last checkpoint of the stage if there is one.

    Args:
        step: the learner's own `tf.function`, (images, labels) to a dict of scalars that has "loss".
        batches: gives the endless batches from a given step on.
        nb_steps: of the whole stage.
        run: keeps checkpoints and metrics and hears SIGTERM.
        stage: the name of both.
        variables: all state that the step changes: model, optimizer, masks.
        callbacks: called after each step with the number of steps done.

    Raises:
        NonFiniteLoss: names the window of steps; the checkpoint before it is kept.
        Stopped: SIGTERM came; a checkpoint was saved.
    """
    done = run.restore_checkpoint(stage, variables)
    if done == 0:
        begin_alike(run, stage, variables)
    earlier = run.seconds.get(stage, 0.0)
    if done >= nb_steps:
        return
    begin = saved = time.monotonic()
    window: list[dict] = run.unlogged.pop(stage, [])
    with run.progress(stage, done, nb_steps) as progress:
        for images, labels in batches(done):
            window.append(step(images, labels))
            done += 1
            progress.step()
            for callback in callbacks:
                callback(done)
            stop = _stop_requested(run, done)
            due = run.checkpoint_due(done, saved) or stop
            full = done % run.summ_step == 0 or done == nb_steps
            if due or full:
                window = _fetched(window, stage, done)
            if full:
                progress.show(done, _logged(window, run, stage, done))
            if due and done < nb_steps:
                _refuse_broken(variables, stage, done)
                run.save_checkpoint(stage, done, variables, earlier + time.monotonic() - begin, window)
                saved = time.monotonic()
            if stop and done < nb_steps:
                raise Stopped(f"stopped at step {done} of {stage}: the same command continues there")
            if done == nb_steps:
                break
    _refuse_broken(variables, stage, done)


def begin_alike(run: Run, stage: str, variables: Sequence[keras.Variable]) -> None:
    """Let a stage begin with the same state on every worker, its random generators (dropout) in every process too.

    They are seeded when a layer is made, from what the process drew before; after a kill that is something else.
    """
    for number, variable in enumerate(variables):
        if variable.path.endswith("seed_generator_state"):
            variable.assign([zlib.crc32(f"{run.seed} {stage} {number}".encode()), 0])
    parallel.broadcast(variables)


def _stop_requested(run: Run, done: int) -> bool:
    """Whether to stop after this step; several workers ask each other now and then, so that all stop together."""
    if parallel.size() == 1:
        return run.stop_requested
    return done % STEPS_BETWEEN_QUESTIONS == 0 and parallel.anywhere(run.stop_requested)


def _refuse_broken(variables: Sequence[keras.Variable], stage: str, done: int) -> None:
    """The loss is that before the last step: a state that is saved must be good behind it, or no run could go on."""
    for variable in variables:
        if variable.value.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
            raise NonFiniteLoss(f"{stage}: {variable.path} is not finite after step {done}: {REMEDY}")


def _fetched(window: list[dict], stage: str, done: int) -> list[dict[str, float]]:
    """The metrics of the steps of a window as numbers; they are fetched and checked here, not in every step."""
    fetched = [{name: float(value) for name, value in metrics.items()} for metrics in window]
    loss = sum(metrics["loss"] for metrics in fetched)
    if not np.isfinite(loss):
        raise NonFiniteLoss(f"{stage}: the loss is {loss} between steps {done - len(window) + 1} and {done}: {REMEDY}")
    return fetched


def _logged(window: list[dict[str, float]], run: Run, stage: str, done: int) -> dict[str, float]:
    """The mean metrics of the steps of a window, which is empty afterwards."""
    metrics = {name: float(np.mean([m[name] for m in window])) for name in window[0]}
    window.clear()
    run.log(stage, done, metrics)
    return metrics
