"""What a run's stages leave behind: a file for each, its own or one that runs lying beside it share."""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from secateur.training import checkpoint
from secateur.utils.files import write_atomically


class StageFolder:
    """Keeps what stages made, by their names and, for what other runs may use, by a key of all that decides it.

    Args:
        own: folder of the stages that are the run's own; made if missing.
        shared: folder of what runs share; made if missing.
        say: takes one line for the user.
    """

    def __init__(self, own: pathlib.Path, shared: pathlib.Path, say: Callable[[str], None]):
        self._own, self._shared, self._say = own, shared, say

    def restore(self, name: str, key: object, variables: Sequence[keras.Variable]) -> dict | None:
        """Set the variables as the stage left them.

        Args:
            key: JSON-able; None: the run's own.

        Returns:
            The meta that was saved; None if the stage has to run.
        """
        path = self._path(name, key)
        if not path.is_file():
            return None
        try:
            arrays, meta = checkpoint.load(path)
        except checkpoint.DamagedCheckpoint:
            self._say(f"{path} is damaged: the stage {name} runs again")
            return None
        checkpoint.assign(variables, arrays, path)
        return meta

    def save(self, name: str, key: object, variables: Sequence[keras.Variable], meta: dict) -> None:
        """Keep the variables and the JSON-able `meta`; name and key as for `restore`."""
        checkpoint.save(self._path(name, key), checkpoint.arrays_of(variables), meta)

    def value(self, name: str, key: object, function: Callable[[], Any]) -> Any:
        """A JSON-able value that runs share, made by `function` where nobody has made it yet."""
        path = self._shared / f"{name}_{_digest(key)}.json"
        if path.is_file():
            with contextlib.suppress(ValueError):
                return json.loads(path.read_text(encoding="utf-8"))
            self._say(f"{path} is damaged: it is made again")
        text = json.dumps(function())
        write_atomically(path, text.encode())
        return json.loads(text)

    def _path(self, name: str, key: object) -> pathlib.Path:
        return self._own / f"{name}.npz" if key is None else self._shared / f"{name}_{_digest(key)}.npz"


def _digest(key: object) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
