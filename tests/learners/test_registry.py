import dataclasses
import pathlib

import pytest

from secateur.learners import registry
from secateur.utils.errors import UsageError
from tests.training.helpers import open_run, tiny_task

FOLDER = pathlib.Path(registry.__file__).parent


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        UsageError, match=f"--learner nothing: unknown; the learners are {', '.join(registry.LEARNERS)}"
    ):
        registry.find("nothing")


def test_every_learner_folder_is_registered():
    folders = {path.parent.name for path in FOLDER.glob("*/learner.py")}
    assert folders == {name.replace("-", "_") for name in registry.LEARNERS}


@pytest.mark.parametrize("name", registry.LEARNERS)
def test_config_has_defaults_that_pass_its_own_checks(name):
    config = registry.find(name).config()
    assert dataclasses.is_dataclass(config)
    assert all(field.metadata["help"] for field in dataclasses.fields(config))


@pytest.mark.parametrize("name", registry.LEARNERS)
def test_making_a_learner_does_nothing_yet(name, tmp_path):
    task = dataclasses.replace(tiny_task(), pretrained=tmp_path / "none.keras")
    with open_run(tmp_path / "run").open() as run:
        learner = registry.create(name, registry.find(name).config(), task, run)
    assert not list((tmp_path / "run").glob("stages/*"))
    assert isinstance(learner.needs_dense, bool)
    assert all(callable(getattr(learner, method)) for method in ("train", "evaluate", "export"))
