import dataclasses

import keras
import numpy as np
import pytest

from secateur.nets import recipes
from secateur.training.schedules import OneCycle, Piecewise, nb_steps_of, scaled_learning_rate, schedule_of
from secateur.training.task import Phase, Recipe, StepDecay


def test_one_cycle_rises_and_falls_to_zero():
    rates = np.array([float(OneCycle(2.0, 100, warm_up=0.2, start=0.1)(k)) for k in range(101)])
    assert rates[0] == pytest.approx(0.2)
    assert rates[20] == pytest.approx(2.0)
    assert rates[60] == pytest.approx(1.0)
    assert rates[100] == 0.0
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()


@pytest.mark.parametrize("warm_up", [0.0, 1.0])
def test_one_cycle_without_one_of_its_sides(warm_up):
    rates = [float(OneCycle(1.0, 10, warm_up=warm_up)(k)) for k in range(10)]
    assert max(rates) <= 1.0
    assert min(rates) > 0.0


def test_piecewise_begins_at_its_boundaries():
    schedule = Piecewise(1.0, [2, 4], [1.0, 0.1, 0.01])
    assert [round(float(schedule(k)), 4) for k in range(6)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]


def test_piecewise_needs_one_more_factor():
    with pytest.raises(ValueError, match="2 factors for 2 boundaries: must be one more"):
        Piecewise(1.0, [1, 2], [1.0, 0.1])


def test_warm_up_rises_linearly_to_the_first_phase():
    schedule = Piecewise(1.0, [6], [1.0, 0.1], warm_up=4)
    assert [round(float(schedule(k)), 3) for k in range(8)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.1, 0.1]


def test_schedule_of_a_phase():
    recipe = Recipe(10, 1.0, 4, 0.5, step_decay=StepDecay((0.5, 0.8), (0.75,), warm_up=0.2))
    scratch = schedule_of(recipe.training, 1.0, 100)
    assert [round(float(scratch(k)), 3) for k in (0, 9, 19, 49, 50, 79, 80, 99)] == [
        *(0.05, 0.5, 1.0, 1.0),
        *(0.1, 0.1, 0.01, 0.01),
    ]
    tuning = schedule_of(recipe.fine_tuning, 0.5, 40)
    assert [round(float(tuning(k)), 3) for k in (0, 29, 30, 39)] == [0.5, 0.5, 0.05, 0.05]
    assert isinstance(schedule_of(Phase(1, 0.1, 0.0), 0.1, 10), OneCycle)


def test_a_rate_scaled_up_for_several_workers_is_reached_by_a_warm_up():
    recipe = Recipe(10, 1.0, 4, 0.5, step_decay=StepDecay((0.5, 0.8), (0.75,)))
    tuning = schedule_of(recipe.fine_tuning, 2.0, 100)
    assert [round(float(tuning(k)), 3) for k in (0, 4, 74, 75)] == [0.4, 2.0, 2.0, 0.2]


@pytest.mark.parametrize("nb_epochs", [100, 2])
def test_boundaries_and_warm_up_move_with_the_epochs(nb_epochs):
    phase = dataclasses.replace(recipes.RESNET_AT_ILSVRC12, nb_epochs=nb_epochs).training
    schedule = schedule_of(phase, 1.0, 10 * nb_epochs)
    rates = [float(schedule(round(share * 10 * nb_epochs))) for share in (0.0, 0.1, 0.25, 0.35, 0.95)]
    assert rates == pytest.approx([1 / (0.05 * 10 * nb_epochs), 1.0, 1.0, 0.1, 0.0001])


@pytest.mark.parametrize("schedule", [OneCycle(2.0, 100, 0.3), Piecewise(1.0, [3], [1.0, 0.5], 2)])
def test_configuration_round_trip(schedule):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [float(again(k)) for k in (0, 3, 50)] == [float(schedule(k)) for k in (0, 3, 50)]


def test_linear_scaling():
    assert scaled_learning_rate(0.1, 512, 128) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("epochs", "pictures", "batch", "steps"), [(2, 100, 32, 6), (0.5, 100, 32, 2), (0, 100, 32, 0), (1e-6, 100, 32, 1)]
)
def test_steps(epochs, pictures, batch, steps):
    assert nb_steps_of(epochs, pictures, batch) == steps
