"""Checkpoints: named arrays and a little JSON in one .npz file, written atomically, without pickle."""

import io
import json
import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically

META = "__meta__"


class DamagedCheckpoint(RuntimeError):
    """A checkpoint whose bytes are not what was written."""


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray], meta: dict) -> None:
    """Write the arrays and the JSON-able `meta`; a crash leaves the old file or the new one, never half of one."""
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{META: text})
    write_atomically(path, buffer.getvalue())


def load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays and the meta; every byte is checked against the archive's checksums.

    Raises:
        DamagedCheckpoint: truncated, altered or not a checkpoint.
        RunError: it cannot be read, which says nothing of what it holds.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(
            f"{path} cannot be read ({error.strerror}): make it readable and run the same command"
        ) from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop(META).tobytes())
    # Of many classes: an altered byte may ask for a feature of zip that is not there.
    except Exception as error:
        raise DamagedCheckpoint(f"{path} cannot be read ({error})") from error
    return arrays, meta


def arrays_of(variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    """Variables as named arrays; the position keeps two variables of one path apart."""
    return {f"{k:04d} {v.path}".replace("/", "."): np.asarray(v.value) for k, v in enumerate(variables)}


def assign(variables: Sequence[keras.Variable], arrays: Mapping[str, np.ndarray], source: object) -> None:
    """Set the variables from `arrays_of`'s names.

    Raises:
        RunError: another number of arrays or another shape: the checkpoint of another network.
    """
    ordered = [arrays[name] for name in sorted(arrays)]
    found, expected = [a.shape for a in ordered], [tuple(v.shape) for v in variables]
    if found != expected:
        differs = next(
            (f"{a} instead of {b}" for a, b in zip(found, expected, strict=False) if a != b), "another number"
        )
        raise RunError(
            f"{source} belongs to another network: {len(found)} arrays for {len(expected)}, {differs}; "
            "choose another --log_dir"
        )
    for variable, value in zip(variables, ordered, strict=True):
        variable.assign(value)
