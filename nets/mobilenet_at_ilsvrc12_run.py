"""MobileNet-v1 and v2 on ILSVRC-12 (1,000 classes), from TFRecord shards.

./scripts/run_local.sh nets/mobilenet_at_ilsvrc12_run.py --learner dis-chn-pruned --mobilenet_version 2 --enbl_dst
"""

import dataclasses
import functools

from secateur.nets import applications, recipes, runner
from secateur.nets.mobilenet import mobilenet_v1, mobilenet_v2
from secateur.training.task import Task
from secateur.utils.flags import option

VERSIONS = {
    1: (mobilenet_v1, recipes.MOBILENET_V1_AT_ILSVRC12),
    2: (mobilenet_v2, recipes.MOBILENET_V2_AT_ILSVRC12),
}
# The widths of which keras.applications has weights.
WIDTHS = {1: (0.25, 0.5, 0.75, 1.0), 2: (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)}


@dataclasses.dataclass(frozen=True)
class Flags(recipes.Ilsvrc12Flags):
    """The network."""

    mobilenet_version: int = option(1, "1 or 2")
    mobilenet_depth_mult: float = option(1.0, "factor on the width of all layers")

    def __post_init__(self) -> None:
        if self.mobilenet_version not in VERSIONS:
            raise ValueError(f"--mobilenet_version {self.mobilenet_version}: must be 1 or 2")
        if not 0.1 <= self.mobilenet_depth_mult <= 4:
            raise ValueError(f"--mobilenet_depth_mult {self.mobilenet_depth_mult}: must be 0.1 to 4")
        published = WIDTHS[self.mobilenet_version]
        if self.pretrained == "imagenet" and self.mobilenet_depth_mult not in published:
            raise ValueError(
                f"--mobilenet_depth_mult {self.mobilenet_depth_mult}: --pretrained imagenet has weights for "
                f"{', '.join(map(str, published))} alone"
            )


def task(flags: Flags, settings: runner.Settings) -> Task:
    (build, recipe), width = VERSIONS[flags.mobilenet_version], flags.mobilenet_depth_mult
    scale = "" if width == 1 else f"_{width:g}"
    name = f"mobilenet_v{flags.mobilenet_version}{scale}"
    return recipes.ilsvrc12_task(
        name,
        lambda: build(depth_mult=width),
        recipe,
        settings,
        flags.pretrained,
        functools.partial(applications.MOBILENETS[flags.mobilenet_version], alpha=width),
    )


if __name__ == "__main__":
    runner.main(task, Flags)
