"""ResNet-18/34/50/101/152/200 on ILSVRC-12 (1,000 classes), from TFRecord shards.

./scripts/run_local.sh nets/resnet_at_ilsvrc12_run.py --learner dis-chn-pruned --resnet_size 34 --dcp_nb_stages 4
"""

import dataclasses
import pathlib

from secateur.datasets import ilsvrc12
from secateur.nets import runner
from secateur.nets.resnet import ILSVRC12_BLOCKS, resnet_ilsvrc12
from secateur.training.task import Recipe, Task
from secateur.utils.flags import option
from secateur.utils.paths import data_dir_for

RECIPE = Recipe(
    nb_epochs=100,
    learning_rate=0.1,
    nb_epochs_ft=60,
    learning_rate_ft=0.01,
    batch_size=64,
    batch_size_norm=256,
    weight_decay=1e-4,
)


@dataclasses.dataclass(frozen=True)
class Flags:
    """The network."""

    resnet_size: int = option(18, f"layers: {', '.join(map(str, ILSVRC12_BLOCKS))}")


def task(flags: Flags, settings: runner.Settings) -> Task:
    return Task(
        name=f"resnet{flags.resnet_size}_at_ilsvrc12",
        build_model=lambda: resnet_ilsvrc12(flags.resnet_size),
        load_data=lambda: ilsvrc12.load(data_dir_for("ilsvrc12", settings.data_dir_local, pathlib.Path("path.conf"))),
        recipe=RECIPE,
    )


if __name__ == "__main__":
    runner.main(task, Flags)
