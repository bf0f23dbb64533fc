"""One run: its work directory, stages, checkpoints, metrics, lock and orderly end."""

import contextlib
import fcntl
import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from secateur.training import parallel
from secateur.training.checkpoint_folder import CheckpointFolder
from secateur.training.metrics_log import MetricsLog
from secateur.training.progress import Progress
from secateur.training.stage_folder import StageFolder
from secateur.utils.errors import RunError
from secateur.utils.files import remove_leftovers, write_atomically

CHECKPOINTS_KEPT = 2
CHECKPOINT_STEPS = 500
CHECKPOINT_SECONDS = 120.0


class Stopped(Exception):
    """SIGTERM came; the state is saved and the same command continues."""


class Run:
    """A work directory that survives a kill at any moment.

    Args:
        directory: made if missing.
        config: what the run does; written to `config.json`, and a directory of another config is refused.
        seed: of every random decision.
        save_step: steps between checkpoints; None: every 500 steps or 2 minutes, whichever comes first.
        summ_step: steps between lines of metrics.
        precision, sync_bn: of the training, as for `to_training`.
        state_directory: where stages and checkpoints lie, if not in `directory`.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        config: dict,
        seed: int = 0,
        save_step: int | None = None,
        summ_step: int = 100,
        precision: str = "float32",
        sync_bn: bool = False,
        state_directory: pathlib.Path | None = None,
    ):
        self._state_directory = state_directory or directory
        self._outputs: dict[str, dict] = {}
        self.directory, self.config, self.seed = directory, config, seed
        self.save_step, self.summ_step, self.precision, self.sync_bn = save_step, summ_step, precision, sync_bn
        self.stop_requested = False
        self.seconds: dict[str, float] = {}
        # By stage, the metrics of the steps before the restored checkpoint that no line of metrics holds yet.
        self.unlogged: dict[str, list[dict[str, float]]] = {}
        self._stages = StageFolder(self._state_directory / "stages", directory.parent / "shared", self.say)
        self._checkpoints = CheckpointFolder(self._state_directory / "checkpoints", self.say)
        self._metrics = MetricsLog(directory)

    @contextlib.contextmanager
    def open(self) -> Iterator["Run"]:
        """Hold the directory's lock; SIGTERM asks for a checkpoint and an orderly end.

        Raises:
            RunError: another run holds the lock, or the directory belongs to another config.
        """
        if not parallel.is_primary():
            parallel.barrier()
            with self._hearing_sigterm():
                yield self
            return
        with contextlib.ExitStack() as locks:
            for folder in sorted({self.directory, self._state_directory}):
                locks.enter_context(_locked(folder))
                remove_leftovers(folder)
            self._write_config()
            parallel.barrier()
            with self._hearing_sigterm():
                yield self

    @contextlib.contextmanager
    def _hearing_sigterm(self) -> Iterator[None]:
        previous = signal.signal(signal.SIGTERM, self._request_stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)

    def stage(
        self,
        name: str,
        function: Callable[[], dict | None],
        variables: Sequence[keras.Variable] = (),
        alone: bool = False,
        key: object = None,
    ) -> dict:
        """Run `function` once in the life of the directory; afterwards only its output is restored.

        Args:
            name: of the stage, unique in the run.
            function: trains in place and returns what else is worth keeping (JSON-able).
            variables: the state that the stage leaves behind; saved after it, restored when it is skipped.
            alone: the primary worker does it and the others read what it saved: choices, measurements.
            key: all that decides what the stage does (JSON-able); runs that lie beside this one then share it. None:
                it is this run's own.

        Returns:
            What `function` returned, now or in the run that was killed later.
        """
        meta = parallel.from_primary(lambda: self._stages.restore(name, key, variables))
        if meta is None:
            self.stop_if_asked(name)
            begin = time.monotonic()
            output = function() or {} if parallel.is_primary() or not alone else {}
            seconds = time.monotonic() - begin + self.seconds.get(name, 0.0)
            meta = parallel.from_primary(lambda: self._saved_stage(name, key, variables, output, seconds))
        parallel.broadcast(variables)
        self.seconds[name] = meta["seconds"]
        self._outputs[name] = meta["output"]
        return meta["output"]

    def stop_if_asked(self, name: str) -> None:
        """Between two stages, where nothing is lost.

        Raises:
            Stopped: SIGTERM came.
        """
        if parallel.anywhere(self.stop_requested):
            raise Stopped(f"stopped before {name}: the same command continues there")

    def shared(self, name: str, key: object, function: Callable[[], Any]) -> Any:
        """A JSON-able value that runs beside this one find again by its key, such as a scan of the dense model.

        It asks no other worker, so that a stage that the primary one does alone may call it.
        """
        return self._stages.value(name, key, function)

    def outputs(self, key: str) -> dict:
        """What the stages so far returned under a key, by stage."""
        return {name: output[key] for name, output in self._outputs.items() if key in output}

    def _saved_stage(
        self, name: str, key: object, variables: Sequence[keras.Variable], output: dict, seconds: float
    ) -> dict:
        meta = {"output": output, "seconds": seconds}
        self._stages.save(name, key, variables, meta)
        self._checkpoints.forget_all_but_last_of(name)
        return meta

    def save_checkpoint(
        self,
        stage: str,
        step: int,
        variables: Sequence[keras.Variable],
        seconds: float,
        unlogged: Sequence[dict[str, float]] = (),
    ) -> None:
        """Keep the state after `step` steps of `stage`, with the metrics of the steps since the last line of them.

        The last two checkpoints are kept.
        """
        if not parallel.is_primary():
            return
        meta = {"step": step, "seconds": seconds, "unlogged": list(unlogged)}
        self._checkpoints.save(stage, step, variables, meta)
        self._checkpoints.forget(stage, keep=CHECKPOINTS_KEPT)

    def restore_checkpoint(self, stage: str, variables: Sequence[keras.Variable]) -> int:
        """Load the newest readable checkpoint of `stage` into the variables; the steps it has done, 0 without one.

        Raises:
            RunError: a file that cannot be read, or the checkpoint of another network.
        """
        done = parallel.from_primary(lambda: self._restored_step(stage, variables))
        if done:
            parallel.broadcast(variables)
        return done

    def _restored_step(self, stage: str, variables: Sequence[keras.Variable]) -> int:
        meta = self._checkpoints.restore(stage, variables)
        step = meta["step"] if meta else 0
        if meta:
            self.say(f"{stage}: continues at step {step}")
            self.seconds[stage], self.unlogged[stage] = meta["seconds"], meta.get("unlogged", [])
        self._metrics.drop_after(stage, step)
        return step

    def checkpoint_due(self, step: int, since: float) -> bool:
        """Whether it is time to save, `since` being the monotonic time of the last save."""
        if self.save_step:
            return step % self.save_step == 0
        return step % CHECKPOINT_STEPS == 0 or time.monotonic() - since > CHECKPOINT_SECONDS

    def log(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Append one line to metrics.jsonl and the same scalars to the TensorBoard events."""
        if parallel.is_primary():
            self._metrics.append(stage, step, metrics)

    def write(self, name: str, text: str) -> None:
        """A file beside the result, such as a picture; the primary worker writes it."""
        if parallel.is_primary():
            write_atomically(self.directory / name, text.encode())

    def progress(self, stage: str, first: int, total: int) -> Progress:
        """A progress bar with ETA for the steps of a stage."""
        return Progress(stage, first, total)

    def say(self, text: str) -> None:
        """One line for the user."""
        if parallel.is_primary():
            print(text, file=sys.stderr, flush=True)

    def _write_config(self) -> None:
        path = self.directory / "config.json"
        text = json.dumps(self.config, indent=2, sort_keys=True) + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise RunError(f"{path} is of another configuration: choose another --log_dir")
        if not path.is_file():
            write_atomically(path, text.encode())

    def _request_stop(self, signum: int, frame: object) -> None:
        self.stop_requested = True


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder} is in use by another run: wait for it, or choose another folder") from None
        yield
