"""How the networks are trained, and the tasks of the two large data sets.

The recipes for ILSVRC-12 are the published ones: He et al. 2016 for ResNets, Howard et al. 2017 and Sandler et al. 2018
for MobileNets, Simonyan and Zisserman 2015 for VGG, fine-tuning as in Zhuang et al. 2018, with a linear warm-up of five
epochs (Goyal et al. 2017). Boundaries and warm-up are shares of the training: with other epochs they move along. The
recipes for CIFAR-10 are shorter than published ones, to suit a machine without a GPU.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import keras

from secateur.datasets import cifar10, ilsvrc12
from secateur.nets import applications
from secateur.nets.settings import Settings
from secateur.training.task import Recipe, StepDecay, Task
from secateur.utils.flags import option
from secateur.utils.paths import data_dir_for

RESNET_AT_CIFAR10 = Recipe(
    nb_epochs=75,
    learning_rate=0.25,
    nb_epochs_ft=40,
    learning_rate_ft=0.1,
)
# Without shortcuts a high learning rate diverges.
CHAIN_AT_CIFAR10 = dataclasses.replace(RESNET_AT_CIFAR10, nb_epochs=100, learning_rate=0.1, learning_rate_ft=0.05)

FINE_TUNING_STEPS = (0.6, 0.8, 0.9)
RESNET_AT_ILSVRC12 = Recipe(
    nb_epochs=100,
    learning_rate=0.1,
    nb_epochs_ft=60,
    learning_rate_ft=0.01,
    batch_size=64,
    batch_size_norm=256,
    weight_decay=1e-4,
    dcp_nb_iters_block=10_000,
    dcp_nb_iters_layer=500,
    step_decay=StepDecay((0.3, 0.6, 0.8, 0.9), FINE_TUNING_STEPS),
)
VGG_AT_ILSVRC12 = dataclasses.replace(RESNET_AT_ILSVRC12, learning_rate=0.01, learning_rate_ft=0.001, weight_decay=5e-4)
MOBILENET_V1_AT_ILSVRC12 = dataclasses.replace(
    RESNET_AT_ILSVRC12, learning_rate=0.045, batch_size_norm=96, weight_decay=4e-5
)
# The rate falls by 2 % an epoch; fine-tuning takes one cycle.
MOBILENET_V2_EPOCHS, MOBILENET_V2_STEP = 412.0, 2.5
MOBILENET_V2_AT_ILSVRC12 = dataclasses.replace(
    MOBILENET_V1_AT_ILSVRC12,
    nb_epochs=MOBILENET_V2_EPOCHS,
    step_decay=StepDecay(
        tuple(k * MOBILENET_V2_STEP / MOBILENET_V2_EPOCHS for k in range(1, 165)),
        factor=0.98**MOBILENET_V2_STEP,
        warm_up=5 / MOBILENET_V2_EPOCHS,
    ),
)


@dataclasses.dataclass(frozen=True)
class Ilsvrc12Flags:
    """What every network on ILSVRC-12 has."""

    pretrained: str | None = option(
        None, "weights to start from: imagenet (the network of keras.applications) or a .safetensors file of timm's"
    )


def cifar10_task(network: str, build_model: Callable[[], keras.Model], recipe: Recipe, settings: Settings) -> Task:
    """A network for pictures [B, 32, 32, 3] and 10 classes."""
    return Task(
        name=f"{network}_at_cifar10",
        build_model=build_model,
        load_data=lambda: cifar10.load(data_dir_for("cifar10", settings.data_dir_local, pathlib.Path("path.conf"))),
        recipe=recipe,
    )


def ilsvrc12_task(
    network: str,
    build_model: Callable[[], keras.Model],
    recipe: Recipe,
    settings: Settings,
    pretrained: str | None = None,
    theirs: Callable[[str | None], keras.Model] | None = None,
) -> Task:
    """A network for pictures [B, 224, 224, 3] and 1,000 classes.

    Args:
        pretrained: where published weights come from (`applications.start`).
        theirs: (weights) to the network of the same kind in `keras.applications`, which `--pretrained imagenet` takes.
    """
    start = applications.start(pretrained, network, build_model, theirs) if pretrained else None
    return Task(
        name=f"{network}_at_ilsvrc12",
        build_model=start.build_model if start else build_model,
        load_data=lambda: ilsvrc12.load(data_dir_for("ilsvrc12", settings.data_dir_local, pathlib.Path("path.conf"))),
        recipe=recipe,
        start=start,
    )
