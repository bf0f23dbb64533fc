"""Writing files so that a crash leaves the old one or the new one."""

import contextlib
import errno
import fcntl
import os
import pathlib
import secrets
from collections.abc import Iterator

from secateur.utils.errors import RunError

TEMPORARY = ".tmp"


def remove_leftovers(folder: pathlib.Path) -> None:
    """Remove what killed processes left half written in a folder that nobody else writes to."""
    for path in folder.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """One process at a time, of those on this machine, while it makes a file; a hidden file beside it stays."""
    lock_path = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("w")
    except OSError as error:
        raise RunError(f"cannot write {lock_path} ({error.strerror}): choose a folder that can be written") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_atomically(path: pathlib.Path, data: bytes) -> None:
    """Write a whole file under a temporary name in the same folder, then move it into place.

    Raises:
        RunError: the disk is full or the folder cannot be written; a file that was there stays as it was.
    """
    # A plain open, so that the file gets the permissions that the user's umask gives; a name by chance, because process
    # numbers repeat from container to container.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space and run the same command again" if full else "choose a folder that can be written"
        raise RunError(f"cannot write {path} ({error.strerror}): {remedy}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
