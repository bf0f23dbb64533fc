"""VGG16 with batch norm on ILSVRC-12 (1,000 classes), from TFRecord shards.

./scripts/run_local.sh nets/vgg_at_ilsvrc12_run.py --learner chn-pruned --chn_target_macs 0.5
"""

from secateur.nets import applications, recipes, runner
from secateur.nets.vgg import vgg16_ilsvrc12
from secateur.training.task import Task


def task(flags: recipes.Ilsvrc12Flags, settings: runner.Settings) -> Task:
    return recipes.ilsvrc12_task(
        "vgg16", vgg16_ilsvrc12, recipes.VGG_AT_ILSVRC12, settings, flags.pretrained, applications.VGG16
    )


if __name__ == "__main__":
    runner.main(task, recipes.Ilsvrc12Flags)
