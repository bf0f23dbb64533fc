"""Bringing a network to its targets while it trains: filters and stripes die along a schedule."""

import functools
import math
import pathlib

import keras

from secateur import export
from secateur.learners.stripe import ops
from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.skeletons import Skeletons
from secateur.pruning.widths import Widths, uniform_widths

# Steps between two looks at the targets.
EVERY = 20
# Share of the target of MACs that may be missed below it without a word.
MOST_MISSED = 0.03


def widths_for(share: float, dense: keras.Model, skeletons: Skeletons, folder: pathlib.Path) -> dict[str, int]:
    """How many filters of each inner group may live, for the target of time.

    Differs from the paper: what a hole in a small kernel saves LiteRT does not feel, so filters die as a whole until
    the time is met, as many of each layer as its widths are worth it.
    """
    sizes = {name: skeletons.of[name].shape[-1] for name in skeletons.groups}
    family = functools.partial(uniform_widths, sizes)
    return dict(export.widths_for_target("latency", share, dense, dense, family, "auto", folder))


class Targets:
    """What is asked of the skeletons, and when.

    Args:
        widths: how many filters of the named layers may live in the end.
        nb_steps: of the whole training.

    Attributes:
        schedule: between the steps at which the first and the last stripes die.
    """

    def __init__(self, config: StripeConfig, skeletons: Skeletons, widths: Widths, nb_steps: int):
        self._config, self._skeletons, self._widths = config, skeletons, widths
        start, end = round(config.start * nb_steps), max(round(config.ramp * nb_steps), 1)
        self.schedule = ops.Schedule(start, end, config.stripe_target_macs or 1.0, skeletons.macs())

    def look(self, done: int) -> None:
        """Kill after so many steps what is too much by now."""
        config, schedule = self._config, self.schedule
        if not config.has_target or done > schedule.end or (done % EVERY and done != schedule.end):
            return
        if self._widths:
            sizes = {name: self._skeletons.of[name].shape[-1] for name in self._widths}
            now = {name: schedule.between(done, sizes[name], width) for name, width in self._widths.items()}
            self._skeletons.narrow({name: math.ceil(width) for name, width in now.items()})
        if config.stripe_target_macs:
            least = (1 - MOST_MISSED) * config.stripe_target_macs * schedule.whole
            self._skeletons.remove_down_to(schedule(done), least)

    def macs_share(self) -> float:
        """What is left of the network's MACs by the method's count."""
        return self._skeletons.macs() / self.schedule.whole

    def missed(self) -> str:
        """What to say if much less is left than was asked for; nothing otherwise."""
        target, share = self._config.stripe_target_macs, self.macs_share()
        if target is None or share >= (1 - MOST_MISSED) * target:
            return ""
        reason = "the filters that died for --stripe_target_latency" if self._widths else "the stripes that died last"
        return f"{share:.3f} of the MACs are left and not {target}: {reason} cost more"
