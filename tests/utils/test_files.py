import errno
import os

import pytest

from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically


def test_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "can be written")])
def test_failure_keeps_the_old_file_and_no_rubbish(tmp_path, monkeypatch, code, says):
    path = tmp_path / "b.txt"
    write_atomically(path, b"one")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match=rf"cannot write .*b\.txt .*{says}"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["b.txt"]
