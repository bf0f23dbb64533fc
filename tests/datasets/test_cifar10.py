import hashlib
import io
import pathlib
import tarfile
import urllib.error
import urllib.request

import numpy as np
import pytest

from secateur.datasets import cifar10
from secateur.utils.errors import RunError

NAMES = (*cifar10.TRAIN_FILES, *cifar10.TEST_FILES)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A folder in the official layout with 3 pictures per file: label k, then planes of k+1, k+2, k+3."""
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", 3)
    folder = tmp_path / cifar10.FOLDER
    folder.mkdir()
    for name in NAMES:
        planes = [np.full(1024, k + c, np.uint8) for k in range(3) for c in (1, 2, 3)]
        records = np.concatenate([np.concatenate([[k], *planes[3 * k : 3 * k + 3]]) for k in range(3)])
        records.astype(np.uint8).tofile(folder / name)
    return tmp_path


@pytest.mark.parametrize("below", [True, False])
def test_reads_planes_as_channels(small, below):
    data = cifar10.load(small if below else small / cifar10.FOLDER)
    assert (data.nb_train, data.nb_test, data.name) == (15, 3, "CIFAR-10")
    assert data.test_images.shape == (3, 32, 32, 3)
    assert data.test_images[1, 5, 7].tolist() == [2, 3, 4]
    assert data.test_labels.tolist() == [0, 1, 2]
    assert data.labels[3] == "cat"


def test_a_known_copy_gets_its_own_name(small, monkeypatch):
    checksum = hashlib.sha256((small / cifar10.FOLDER / "test_batch.bin").read_bytes()).hexdigest()
    monkeypatch.setitem(cifar10.KNOWN_COPIES, checksum, "CIFAR-10 (copy)")
    assert cifar10.load(small).name == "CIFAR-10 (copy)"


def test_missing_folder_names_three_ways(tmp_path):
    with pytest.raises(RunError, match=r"--data_dir_local DIR.*path\.conf.*download") as caught:
        cifar10.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_truncated_and_damaged_files(small):
    path = small / cifar10.FOLDER / "data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(RunError, match=r"data_batch_3\.bin has 9218 bytes, expected 9219: it is truncated"):
        cifar10.load(small)
    path.write_bytes(b"\x0a" + whole[1:])
    with pytest.raises(RunError, match="holds the label 10, expected 0 to 9"):
        cifar10.load(small)
    path.unlink()
    with pytest.raises(RunError, match=r"cannot read .*data_batch_3\.bin"):
        cifar10.load(small)


def serve(monkeypatch, archive: bytes):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(archive))
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(archive).hexdigest())


def archive_of(folder) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder / cifar10.FOLDER, cifar10.FOLDER)
    return buffer.getvalue()


def test_download_is_checked_unpacked_and_kept(small, tmp_path, monkeypatch):
    serve(monkeypatch, archive_of(small))
    target = tmp_path / "data"
    assert cifar10.load(None, target).nb_train == 15
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("downloaded twice"))
    assert cifar10.load(None, target).nb_train == 15


def test_a_kill_while_unpacking_leaves_nothing_behind(small, tmp_path, monkeypatch):
    serve(monkeypatch, archive_of(small))
    whole = tarfile.TarFile.extractall

    def killed(self, path, **_):
        (pathlib.Path(path) / cifar10.FOLDER).mkdir()
        (pathlib.Path(path) / cifar10.FOLDER / "test_batch.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "extractall", killed)
    with pytest.raises(KeyboardInterrupt):
        cifar10.load(None, tmp_path / "data")
    monkeypatch.setattr(tarfile.TarFile, "extractall", whole)
    serve(monkeypatch, archive_of(small))
    assert cifar10.load(None, tmp_path / "data").nb_train == 15


def test_download_with_a_wrong_checksum_leaves_nothing(small, tmp_path, monkeypatch):
    serve(monkeypatch, archive_of(small))
    monkeypatch.setattr(cifar10, "SHA256", "0" * 64)
    with pytest.raises(RunError, match="has SHA-256"):
        cifar10.load(None, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".lock"]


def test_no_network_names_three_ways(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(RunError, match=r"the download failed .*no route.*--data_dir_local DIR.*path\.conf"):
        cifar10.load(None, tmp_path)
