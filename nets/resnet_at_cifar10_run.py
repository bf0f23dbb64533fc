"""ResNet-20/32/44/56/110 on CIFAR-10.

    ./scripts/run_local.sh nets/resnet_at_cifar10_run.py --learner dis-chn-pruned --dcp_prune_ratio 0.5

On 2 CPU cores an epoch of ResNet-20 takes about a minute: two hours for the dense network and its pruning. Results:
README.md.
"""

import dataclasses

from secateur.nets import recipes, runner
from secateur.nets.resnet import CIFAR_SIZES, resnet
from secateur.training.task import Task
from secateur.utils.flags import option


@dataclasses.dataclass(frozen=True)
class Flags:
    """The network."""

    resnet_size: int = option(20, f"layers: {', '.join(map(str, CIFAR_SIZES))} or another 6n + 2")


def task(flags: Flags, settings: runner.Settings) -> Task:
    size = flags.resnet_size
    return recipes.cifar10_task(
        f"resnet{size}",
        lambda: resnet((32, 32, 3), nb_classes=10, resnet_size=size),
        recipes.RESNET_AT_CIFAR10,
        settings,
    )


if __name__ == "__main__":
    runner.main(task, Flags)
