"""A small residual network on scikit-learn's handwritten digits: the whole road in a few minutes, no download.

./scripts/run_local.sh nets/resnet_at_digits_run.py --learner dis-chn-pruned
"""

import dataclasses

from secateur.datasets import digits
from secateur.nets import runner
from secateur.nets.resnet import resnet
from secateur.training.task import Recipe, Task
from secateur.utils.flags import option

RECIPE = Recipe(
    nb_epochs=60,
    learning_rate=0.1,
    nb_epochs_ft=40,
    learning_rate_ft=0.05,
    batch_size=64,
    batch_size_norm=64,
    dcp_nb_iters_block=40,
    dcp_nb_iters_layer=40,
)


@dataclasses.dataclass(frozen=True)
class Flags:
    """The network."""

    resnet_size: int = option(14, "layers: 8, 14, 20 or another 6n + 2")


def task(flags: Flags, settings: runner.Settings) -> Task:
    return Task(
        name=f"resnet{flags.resnet_size}_at_digits",
        build_model=lambda: resnet((8, 8, 1), nb_classes=10, resnet_size=flags.resnet_size),
        load_data=digits.load,
        recipe=RECIPE,
    )


if __name__ == "__main__":
    runner.main(task, Flags)
