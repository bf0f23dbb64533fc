import pytest

from secateur.export import save_keras
from tests.training.helpers import tiny_task


@pytest.fixture
def task(tmp_path, randomise):
    """A tiny task with a pretrained model of random weights."""
    task = tiny_task(pretrained=tmp_path / "dense.keras")
    save_keras(randomise(task.build_model()), task.pretrained)
    return task
