import errno
import os
import threading
import time

import pytest

from secateur.utils.errors import RunError
from secateur.utils.files import locked, write_atomically


def test_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_one_at_a_time(tmp_path):
    seen = []

    def work():
        with locked(tmp_path / "folder" / "model.keras"):
            seen.append("begin")
            time.sleep(0.05)
            seen.append("end")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["begin", "end"] * 3
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [".model.keras.lock"]


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
