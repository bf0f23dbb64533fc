"""Keeping what C++ libraries write to the process's own streams away from the user."""

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow everything that the block writes to file descriptors 1 and 2; exceptions pass."""
    with tempfile.TemporaryFile() as sink:
        saved = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in saved:
                os.dup2(sink.fileno(), number)
            yield
        finally:
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
