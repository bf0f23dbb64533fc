"""The checkpoints of a run: a folder for each stage, a file for each step that is kept."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence

import keras

from secateur.training import checkpoint


class CheckpointFolder:
    """Names and keeps the files `<folder>/<stage>/step-<step>.npz`.

    Args:
        folder: made with the first file.
        say: takes one line for the user.
    """

    def __init__(self, folder: pathlib.Path, say: Callable[[str], None]):
        self._folder, self._say = folder, say

    def path(self, stage: str, step: int) -> pathlib.Path:
        return self._folder / stage / f"step-{step:09d}.npz"

    def oldest_first(self, stage: str) -> list[pathlib.Path]:
        return sorted((self._folder / stage).glob("step-*.npz"))

    def save(self, stage: str, step: int, variables: Sequence[keras.Variable], meta: dict) -> None:
        """Keep the variables after `step` steps and the JSON-able `meta`."""
        checkpoint.save(self.path(stage, step), checkpoint.arrays_of(variables), meta)

    def restore(self, stage: str, variables: Sequence[keras.Variable]) -> dict | None:
        """Set the variables from the newest readable checkpoint of a stage; damaged ones are set aside.

        Returns:
            The meta that was saved; None without a checkpoint.

        Raises:
            RunError: a file that cannot be read, or the checkpoint of another network.
        """
        for path in reversed(self.oldest_first(stage)):
            try:
                arrays, meta = checkpoint.load(path)
            except checkpoint.DamagedCheckpoint as error:
                self._say(f"{error}: using the one before")
                self._set_aside(path)
                continue
            checkpoint.assign(variables, arrays, path)
            return meta
        return None

    def forget(self, stage: str, keep: int) -> None:
        """Remove all but the newest `keep` of a stage."""
        paths = self.oldest_first(stage)
        for path in paths[: max(len(paths) - keep, 0)]:
            path.unlink()

    def forget_all_but_last_of(self, stage: str) -> None:
        """What a finished stage leaves: its last checkpoint, in case the file of the whole stage gets damaged."""
        for folder in self._folder.glob("*"):
            self.forget(folder.name, keep=1 if folder.name == stage else 0)

    def _set_aside(self, path: pathlib.Path) -> None:
        """A damaged checkpoint must not count among those that are kept; another worker may have been faster."""
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".damaged"))
