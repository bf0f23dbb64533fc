"""Broken pictures and truncated record files: counted, named and left out, up to a limit."""

import os
import pathlib
import struct
import sys

import numpy as np

from secateur.utils.errors import RunError

LIMIT = 50
# A TFRecord: length (8 bytes, little-endian), its checksum (4), the data, their checksum (4).
HEADER, FOOTER = struct.Struct("<Q4x"), 4


class Damage:
    """What was found broken while a data set was read.

    Attributes:
        names: of the broken pictures and record files, in the order in which they were met.
        limit: how many there may be.
    """

    def __init__(self, limit: int = LIMIT):
        self.names: list[str] = []
        self.limit = limit
        self._gone = ""

    def note(self, name: str, what: str) -> None:
        """Name it once.

        Raises:
            RunError: it is one too many.
        """
        if name not in self.names:
            self.names.append(name)
            print(f"{name} {what} ({len(self.names)} so far)", file=sys.stderr, flush=True)
        self.check()

    def check(self) -> None:
        """Raises a RunError if a file is gone, or more is broken than the limit allows."""
        if self._gone:
            raise RunError(self._gone)
        if len(self.names) > self.limit:
            raise RunError(
                f"more than {self.limit} pictures or shards are broken, {', '.join(self.names[:3])} among them: "
                "restore or delete them, then make the shards again in another folder"
            )

    def note_missing(self, names: np.ndarray, rows: np.ndarray) -> np.bool_:
        """Note the pictures that are not among `rows`."""
        for row in sorted({*range(len(names))} - {*rows.tolist()}):
            self.note(names[row].decode(errors="replace"), "is broken and left out")
        return np.bool_(True)

    def nb_whole_records(self, path: bytes) -> np.int64:
        """Records of a file before the place where it was cut off; notes a file that was, and one that is gone."""
        name = os.fsdecode(path)
        try:
            return np.int64(self._nb_whole_records(name))
        except OSError as error:
            # Of what is raised inside a data set only a few letters come out of it.
            self._gone = f"{name} cannot be read any more ({error.strerror}): bring it back and run the same command"
            raise

    def _nb_whole_records(self, name: str) -> int:
        whole = 0
        # Nothing but the headers is read, and no buffer around them.
        with pathlib.Path(name).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            while header := file.read(HEADER.size):
                place = file.tell()
                end = place + HEADER.unpack(header)[0] + FOOTER if len(header) == HEADER.size else size + 1
                if end > size:
                    self.note(name, f"is cut off after {whole} records: what is behind is left out; make it again")
                    break
                file.seek(end)
                whole += 1
        return whole
