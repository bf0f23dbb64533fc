import pytest

from secateur.utils import gpus
from secateur.utils.errors import RunError


def test_least_used_first_and_busy_ones_left_out():
    answer = "0, 300, 1000\n1, 100, 1000\n2, 500, 1000\n3, [N/A], [N/A]\n4, 0, 16000\n"
    assert gpus.rank_by_use(answer) == [4, 1, 0]


def test_no_gpu_at_all():
    assert gpus.rank_by_use("") == []


def fake_nvidia_smi(folder, monkeypatch, script):
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_asks_nvidia_smi(tmp_path, monkeypatch):
    fake_nvidia_smi(tmp_path, monkeypatch, "echo '0, 10, 100'")
    assert gpus.idle_gpus() == [0]


def test_no_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.idle_gpus() is None


def test_broken_driver(tmp_path, monkeypatch):
    fake_nvidia_smi(tmp_path, monkeypatch, "exit 9")
    with pytest.raises(RunError, match=r"nvidia-smi fails .*--device=cpu"):
        gpus.idle_gpus()
