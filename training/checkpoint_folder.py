"""The checkpoints of a run: a folder for each stage, a file for each step that is kept."""

import contextlib
import pathlib


class CheckpointFolder:
    """Names and keeps the files `<folder>/<stage>/step-<step>.npz`.

    Args:
        folder: made by whoever writes the first file.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def path(self, stage: str, step: int) -> pathlib.Path:
        return self._folder / stage / f"step-{step:09d}.npz"

    def oldest_first(self, stage: str) -> list[pathlib.Path]:
        return sorted((self._folder / stage).glob("step-*.npz"))

    def forget(self, stage: str, keep: int) -> None:
        """Remove all but the newest `keep` of a stage."""
        paths = self.oldest_first(stage)
        for path in paths[: max(len(paths) - keep, 0)]:
            path.unlink()

    def forget_all_but_last_of(self, stage: str) -> None:
        """What a finished stage leaves: its last checkpoint, in case the file of the whole stage gets damaged."""
        for folder in self._folder.glob("*"):
            self.forget(folder.name, keep=1 if folder.name == stage else 0)

    def set_aside(self, path: pathlib.Path) -> None:
        """A damaged checkpoint must not count among those that are kept."""
        with contextlib.suppress(OSError):
            path.rename(path.with_suffix(".damaged"))
