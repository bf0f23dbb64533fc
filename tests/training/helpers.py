"""A tiny task on random pictures."""

import pathlib

import numpy as np

from secateur.datasets.arrays import ArrayDataset, Augment
from secateur.nets.resnet import resnet
from secateur.training.run import Run
from secateur.training.task import Recipe, Task


def pictures(nb_train: int = 48, nb_test: int = 20, shape: tuple = (8, 8, 1)) -> ArrayDataset:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, nb_train + nb_test).astype(np.int32)
    images = generator.integers(0, 60, (nb_train + nb_test, *shape)) + 60 * labels[:, None, None, None]
    images = images.astype(np.uint8)
    cut = [slice(0, nb_train), slice(nb_train, None)]
    return ArrayDataset(
        "noise", "abc", images[cut[0]], labels[cut[0]], images[cut[1]], labels[cut[1]], Augment(1, True)
    )


def tiny_task(pretrained: pathlib.Path | None = None, **recipe) -> Task:
    data = pictures()
    defaults = {"nb_epochs": 1, "learning_rate": 0.05, "nb_epochs_ft": 1, "learning_rate_ft": 0.05, "batch_size": 16}
    defaults |= {"dcp_nb_iters_block": 2, "dcp_nb_iters_layer": 3}
    return Task(
        name="resnet8_at_noise",
        build_model=lambda: resnet((8, 8, 1), nb_classes=3, resnet_size=8, widths=(4, 6, 8)),
        load_data=lambda: data,
        recipe=Recipe(**(defaults | recipe)),
        pretrained=pretrained,
    )


def open_run(directory: pathlib.Path, **settings) -> Run:
    return Run(directory, {"some": "config"}, **settings)
