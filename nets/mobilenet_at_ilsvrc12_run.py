"""MobileNet-v1 and v2 on ILSVRC-12 (1,000 classes), from TFRecord shards.

./scripts/run_local.sh nets/mobilenet_at_ilsvrc12_run.py --learner dis-chn-pruned --mobilenet_version 2 --enbl_dst
"""

import dataclasses
import pathlib

from secateur.datasets import ilsvrc12
from secateur.nets import runner
from secateur.nets.mobilenet import mobilenet_v1, mobilenet_v2
from secateur.training.task import Recipe, Task
from secateur.utils.flags import option
from secateur.utils.paths import data_dir_for

RECIPE = Recipe(
    nb_epochs=100,
    learning_rate=0.045,
    nb_epochs_ft=60,
    learning_rate_ft=0.01,
    batch_size=64,
    batch_size_norm=96,
    weight_decay=4e-5,
)
BUILDERS = {1: mobilenet_v1, 2: mobilenet_v2}


@dataclasses.dataclass(frozen=True)
class Flags:
    """The network."""

    mobilenet_version: int = option(1, "1 or 2")
    mobilenet_depth_mult: float = option(1.0, "factor on the width of all layers")

    def __post_init__(self) -> None:
        if self.mobilenet_version not in BUILDERS:
            raise ValueError(f"--mobilenet_version {self.mobilenet_version}: must be 1 or 2")
        if not 0.1 <= self.mobilenet_depth_mult <= 4:
            raise ValueError(f"--mobilenet_depth_mult {self.mobilenet_depth_mult}: must be 0.1 to 4")


def task(flags: Flags, settings: runner.Settings) -> Task:
    build, width = BUILDERS[flags.mobilenet_version], flags.mobilenet_depth_mult
    scale = "" if width == 1 else f"_{width:g}"
    return Task(
        name=f"mobilenet_v{flags.mobilenet_version}{scale}_at_ilsvrc12",
        build_model=lambda: build(depth_mult=width),
        load_data=lambda: ilsvrc12.load(data_dir_for("ilsvrc12", settings.data_dir_local, pathlib.Path("path.conf"))),
        recipe=RECIPE,
    )


if __name__ == "__main__":
    runner.main(task, Flags)
