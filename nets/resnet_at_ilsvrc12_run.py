"""ResNet-18/34/50/101/152/200 on ILSVRC-12 (1,000 classes), from TFRecord shards.

./scripts/run_local.sh nets/resnet_at_ilsvrc12_run.py --learner dis-chn-pruned --resnet_size 34 --dcp_nb_stages 4
"""

import dataclasses

from secateur.nets import applications, recipes, runner
from secateur.nets.resnet import ILSVRC12_BLOCKS, resnet_ilsvrc12
from secateur.training.task import Task
from secateur.utils.flags import option


@dataclasses.dataclass(frozen=True)
class Flags(recipes.Ilsvrc12Flags):
    """The network."""

    resnet_size: int = option(18, f"layers: {', '.join(map(str, ILSVRC12_BLOCKS))}")


def task(flags: Flags, settings: runner.Settings) -> Task:
    size = flags.resnet_size
    return recipes.ilsvrc12_task(
        f"resnet{size}",
        lambda: resnet_ilsvrc12(size),
        recipes.RESNET_AT_ILSVRC12,
        settings,
        flags.pretrained,
        applications.RESNETS.get(size),
    )


if __name__ == "__main__":
    runner.main(task, Flags)
