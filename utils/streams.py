"""What the process writes to its own streams: some of it kept from the user, some of it kept in a log."""

import contextlib
import importlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO


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


def import_quietly() -> None:
    """Import TensorFlow and LiteRT, whose C++ parts print on loading whatever the log level, and keep to errors."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        importlib.import_module("tensorflow")
        importlib.import_module("ai_edge_litert.interpreter")


class Tee:
    """A text stream that keeps a copy in a log, but no progress bar, which rewrites its line ten times a second."""

    def __init__(self, stream: TextIO, log: TextIO):
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        """Write to both; a log that cannot be written, as on a full disk, must not hide what the stream has to say."""
        if not text.startswith("\r"):
            with contextlib.suppress(OSError):
                self._log.write(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's: whether it is a terminal, its encoding, its descriptor."""
        return getattr(self._stream, name)
