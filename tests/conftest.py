"""Shared by all tests: no GPU, fixed seeds, small models with random weights and statistics."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import pytest

from secateur.export import forms
from secateur.learners.fbs import choice
from secateur.learners.stripe import rebuild
from secateur.pruning.copies import set_weights
from tests.datasets.shards import make_shards

# Tracing makes millions of objects that live on: looking through them at the usual pace takes a tenth of the time.
gc.set_threshold(100_000, 20, 10)


@pytest.fixture(autouse=True)
def _fixed_seeds():
    keras.utils.set_random_seed(1)


@pytest.fixture
def randomise():
    """A function that gives a model random weights, positive gammas and variances, and returns it.

    Fresh networks have beta 0 and mean 0, which hide faults of slicing and folding.
    """

    def give(model: keras.Model, seed: int = 0) -> keras.Model:
        generator = np.random.default_rng(seed)
        for variable in model.weights:
            name = variable.path.rsplit("/", 1)[-1]
            fan_in = max(int(np.prod(variable.shape[:-1])), 1)
            scale = 0.3 if len(variable.shape) == 1 else fan_in**-0.5
            value = generator.normal(0, scale, variable.shape)
            variable.assign(np.abs(1 + value) if name in ("gamma", "moving_variance", "variance") else value)
        set_weights(model, model.get_weights())  # so that its normalisation knows
        return model

    return give


@pytest.fixture
def last_form(monkeypatch):
    """No clock: the last form of every layer is taken, which is the furthest from the dense one.

    Of whole networks the second one is fastest: the first one is dense in all layers, the next one in none.
    """

    def last(found, *_, **__):
        return {form: -k for k, form in enumerate(found)}

    def second(found, *_, **__):
        return {name: 1 + abs(k - 1) for k, name in enumerate(found)}

    monkeypatch.setattr(forms, "milliseconds", last)
    monkeypatch.setattr(choice, "milliseconds", second)
    monkeypatch.setattr(rebuild, "milliseconds", second)


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> pathlib.Path:
    """A folder with shards of ILSVRC-12's form under `out`, and the pictures that they were made of."""
    return make_shards(tmp_path_factory.mktemp("ilsvrc12"))
