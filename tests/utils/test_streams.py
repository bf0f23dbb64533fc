import os

import pytest

from secateur.utils.streams import quiet


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
