"""A residual network on a folder of pictures: DIR/train/<class>/*.jpg and DIR/val/<class>/*.jpg.

    ./scripts/run_local.sh nets/resnet_at_folder_run.py --data_dir_local DIR --learner chn-pruned

Imagenette and Imagewoof come in this form.
"""

import dataclasses
import functools
import pathlib

from secateur.datasets import image_folder
from secateur.nets import runner
from secateur.nets.resnet import resnet
from secateur.training.task import Recipe, Task
from secateur.utils.flags import option
from secateur.utils.paths import data_dir_for

RECIPE = Recipe(
    nb_epochs=40,
    learning_rate=0.1,
    nb_epochs_ft=20,
    learning_rate_ft=0.05,
    batch_size=64,
    batch_size_norm=64,
    dcp_nb_iters_block=200,
    dcp_nb_iters_layer=100,
)


@dataclasses.dataclass(frozen=True)
class Flags:
    """The network."""

    resnet_size: int = option(20, "layers: 20, 32, 44 or another 6n + 2")
    image_size: int = option(64, "height and width of the pictures, 32 or more")

    def __post_init__(self) -> None:
        if self.image_size < 32:
            raise ValueError(f"--image_size {self.image_size}: must be 32 or more")


def task(flags: Flags, settings: runner.Settings) -> Task:
    @functools.cache
    def load() -> image_folder.ImageFolder:
        directory = data_dir_for("folder", settings.data_dir_local, pathlib.Path("path.conf"))
        return image_folder.load(directory, flags.image_size)

    return Task(
        name=f"resnet{flags.resnet_size}_at_folder",
        build_model=lambda: resnet(
            (flags.image_size, flags.image_size, 3), nb_classes=len(load().labels), resnet_size=flags.resnet_size
        ),
        load_data=load,
        recipe=RECIPE,
    )


if __name__ == "__main__":
    runner.main(task, Flags)
