"""VGG16 with batch norm on CIFAR-10.

./scripts/run_local.sh nets/vgg_at_cifar10_run.py --learner chn-pruned --chn_target_macs 0.5
"""

from secateur.nets import recipes, runner
from secateur.nets.vgg import vgg16_cifar10
from secateur.training.task import Task


def task(flags: runner.NoFlags, settings: runner.Settings) -> Task:
    return recipes.cifar10_task("vgg16", vgg16_cifar10, recipes.CHAIN_AT_CIFAR10, settings)


if __name__ == "__main__":
    runner.main(task)
