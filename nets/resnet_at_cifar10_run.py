"""ResNet-20/32/44/56/110 on CIFAR-10.

    ./scripts/run_local.sh nets/resnet_at_cifar10_run.py --learner dis-chn-pruned --dcp_prune_ratio 0.5

On 2 CPU cores an epoch of ResNet-20 takes about 50 seconds; results stand in results/README.md.
"""

import dataclasses
import pathlib

from secateur.datasets import cifar10
from secateur.nets import runner
from secateur.nets.resnet import CIFAR_SIZES, resnet
from secateur.training.task import Recipe, Task
from secateur.utils.flags import option
from secateur.utils.paths import data_dir_for

RECIPE = Recipe(
    nb_epochs=75,
    learning_rate=0.25,
    nb_epochs_ft=40,
    learning_rate_ft=0.1,
    dcp_nb_iters_block=200,
    dcp_nb_iters_layer=100,
)


@dataclasses.dataclass(frozen=True)
class Flags:
    """The network."""

    resnet_size: int = option(20, f"layers: {', '.join(map(str, CIFAR_SIZES))} or another 6n + 2")


def task(flags: Flags, settings: runner.Settings) -> Task:
    return Task(
        name=f"resnet{flags.resnet_size}_at_cifar10",
        build_model=lambda: resnet((32, 32, 3), nb_classes=10, resnet_size=flags.resnet_size),
        load_data=lambda: cifar10.load(data_dir_for("cifar10", settings.data_dir_local, pathlib.Path("path.conf"))),
        recipe=RECIPE,
    )


if __name__ == "__main__":
    runner.main(task, Flags)
