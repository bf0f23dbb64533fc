import errno
import io
import os
import subprocess
import sys

import pytest

from secateur.utils.streams import Tee, quiet


def test_swallows_what_goes_to_the_descriptors_and_gives_them_back(capfd):
    with quiet():
        os.write(1, b"noise")
        os.write(2, b"noise")
    os.write(1, b"signal")
    assert capfd.readouterr() == ("signal", "")


def test_exceptions_pass(capfd):
    with pytest.raises(ValueError, match="x"), quiet():
        raise ValueError("x")
    os.write(2, b"back")
    assert capfd.readouterr().err == "back"


def test_tensorflow_is_imported_without_a_word():
    program = "from secateur.utils.streams import import_quietly; import_quietly(); import tensorflow; print('ready')"
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("ready\n", "")


class Full(io.StringIO):
    """A log on a disk that is full."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("log", [io.StringIO(), Full()])
def test_what_is_written_reaches_the_stream_whatever_becomes_of_the_log(log):
    stream = io.StringIO()
    print("error: the disk is full", file=Tee(stream, log))
    assert stream.getvalue() == "error: the disk is full\n"
    assert log.getvalue() == ("" if isinstance(log, Full) else stream.getvalue())
