"""Broken pictures and truncated record files: counted, named and left out, up to a limit."""

import os
import pathlib
import struct
import sys

import numpy as np
import tensorflow as tf

LIMIT = 50
# A TFRecord: length (8 bytes, little-endian), its checksum (4), the data, their checksum (4).
HEADER, FOOTER = struct.Struct("<Q4x"), 4


class TooMuchDamage(ValueError):
    """More is broken than the limit allows."""


class Damage:
    """What was found broken while a data set was read.

    Attributes:
        names: of the broken pictures and record files, in the order in which they were met.
        limit: how many there may be.
    """

    def __init__(self, limit: int = LIMIT):
        self.names: list[str] = []
        self.limit = limit

    @property
    def is_too_much(self) -> bool:
        return len(self.names) > self.limit

    def note(self, name: str, what: str) -> None:
        """Name it once.

        Raises:
            TooMuchDamage: it is one too many.
        """
        if name not in self.names:
            self.names.append(name)
            print(f"{name} {what} ({len(self.names)} so far)", file=sys.stderr, flush=True)
        if self.is_too_much:
            raise TooMuchDamage

    def is_whole(self, contents: bytes, name: bytes, label: np.integer) -> np.bool_:
        """Whether a picture can be decoded; notes it if not."""
        if _decodes(contents):
            return np.bool_(True)
        self.note(name.decode() or f"a picture of class {label}, {len(contents)} bytes,", "is broken and left out")
        return np.bool_(False)

    def nb_whole_records(self, path: bytes) -> np.int64:
        """Records of a file before the place where it was cut off; notes a file that was."""
        name, whole = os.fsdecode(path), 0
        with pathlib.Path(name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while header := file.read(HEADER.size):
                place = file.tell()
                end = place + HEADER.unpack(header)[0] + FOOTER if len(header) == HEADER.size else size + 1
                if end > size:
                    self.note(name, f"is cut off after {whole} records: what is behind is left out; make it again")
                    break
                file.seek(end)
                whole += 1
        return np.int64(whole)


def _decodes(contents: bytes) -> bool:
    """Whether a JPEG has its header and, behind a thumbnail's, its end; other formats are decoded to see."""
    try:
        if not contents.startswith(b"\xff\xd8"):
            tf.io.decode_image(contents, channels=3, expand_animations=False)
            return True
        height, width, _ = tf.io.extract_jpeg_shape(contents).numpy()
        return height * width > 0 and contents.rfind(b"\xff\xd9") > len(contents) // 2
    except tf.errors.OpError:
        return False
