import dataclasses
import pathlib

import pytest

from secateur.export import save_keras
from secateur.learners import registry
from secateur.utils.errors import UsageError
from tests.training.helpers import open_run, tiny_task

# What the defaults are too short for on a task of a few steps.
SETTINGS = {"fcf": {"fcf_nb_epochs": 40.0}}
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
def test_every_learner_trains_evaluates_and_exports(name, tmp_path, randomise):
    task = tiny_task()
    entry = registry.find(name)
    if entry.learner.needs_dense:
        task = dataclasses.replace(task, pretrained=tmp_path / "dense.keras")
        save_keras(randomise(task.build_model()), task.pretrained)
    with open_run(tmp_path / "run").open() as run:
        learner = registry.create(name, entry.config(**SETTINGS.get(name, {})), task, run)
        assert not list((tmp_path / "run").glob("stages/*")), "nothing may happen before train()"
        learner.train()
        assert isinstance(learner.evaluate(), dict)
        model = learner.export()
    assert model.output_shape == (None, 3)
    dense = task.build_model().count_params()
    assert model.count_params() <= dense or name == "fbs"  # whose predictors are extra
