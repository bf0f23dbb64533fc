import dataclasses

import pytest

from secateur.nets.settings import Settings, adapt
from secateur.training.task import Task
from tests.training.helpers import pictures, tiny_task


def test_held_out_pictures_and_scaled_epochs():
    settings = Settings(enbl_trn_val_split=True, nb_epochs_rat=0.5, batch_size=7)
    reads = []
    task: Task = tiny_task(nb_epochs=10, nb_epochs_ft=4)
    task = dataclasses.replace(task, load_data=lambda: reads.append(1) or pictures(nb_train=50))
    adapted = adapt(task, settings)
    assert (adapted.recipe.nb_epochs, adapted.recipe.nb_epochs_ft, adapted.recipe.batch_size) == (5, 2, 7)
    assert reads == []
    assert (adapted.load_data().nb_train, adapted.load_data().nb_test) == (45, 5)
    assert reads == [1]


def test_flags_replace_what_the_recipe_says():
    settings = Settings(nb_epochs=6, nb_epochs_ft=8, nb_epochs_rat=0.5, lrn_rate=0.3, lrn_rate_ft=0.2, weight_decay=0)
    recipe = adapt(tiny_task(), settings).recipe
    assert (recipe.nb_epochs, recipe.nb_epochs_ft) == (3, 4)
    assert (recipe.learning_rate, recipe.learning_rate_ft, recipe.weight_decay) == (0.3, 0.2, 0)
    assert adapt(tiny_task(), Settings()).recipe == tiny_task().recipe
    with pytest.raises(ValueError, match=r"--lrn_rate_ft 0.0: must be above 0"):
        Settings(lrn_rate_ft=0.0)
