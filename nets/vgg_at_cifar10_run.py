"""VGG16 with batch norm on CIFAR-10.

./scripts/run_local.sh nets/vgg_at_cifar10_run.py --learner chn-pruned --chn_target_macs 0.5
"""

import pathlib

from secateur.datasets import cifar10
from secateur.nets import runner
from secateur.nets.vgg import vgg16_cifar10
from secateur.training.task import Recipe, Task
from secateur.utils.paths import data_dir_for

RECIPE = Recipe(
    nb_epochs=100,
    learning_rate=0.1,
    nb_epochs_ft=40,
    learning_rate_ft=0.05,
    dcp_nb_iters_block=200,
    dcp_nb_iters_layer=100,
)


def task(flags: runner.NoFlags, settings: runner.Settings) -> Task:
    return Task(
        name="vgg16_at_cifar10",
        build_model=vgg16_cifar10,
        load_data=lambda: cifar10.load(data_dir_for("cifar10", settings.data_dir_local, pathlib.Path("path.conf"))),
        recipe=RECIPE,
    )


if __name__ == "__main__":
    runner.main(task)
