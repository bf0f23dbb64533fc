import pathlib

import pytest

from secateur.utils.errors import RunError
from secateur.utils.paths import data_dir_for, read_path_conf

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "path.conf"
    path.write_text("# where\ndata_dir_local_cifar10 = /data/c 10  # disk\n\ndata_dir_local_other = None\n")
    return path


def test_comments_and_none_are_left_out(conf):
    assert read_path_conf(conf) == {"data_dir_local_cifar10": "/data/c 10"}


def test_flag_then_file_then_nothing(conf, tmp_path):
    assert data_dir_for("cifar10", "/flag", conf) == pathlib.Path("/flag")
    assert data_dir_for("cifar10", None, conf) == pathlib.Path("/data/c 10")
    assert data_dir_for("other", None, conf) is None
    assert data_dir_for("cifar10", None, tmp_path / "missing.conf") is None


def test_a_line_without_a_value_names_its_number(conf):
    conf.write_text("a = b\nnonsense\n")
    with pytest.raises(RunError, match=r"line 2: 'nonsense' must read"):
        read_path_conf(conf)


def test_template_parses_and_sets_nothing():
    assert read_path_conf(ROOT / "path.conf.template") == {}
