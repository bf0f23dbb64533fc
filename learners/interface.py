"""What the runner asks of a learner."""

from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np


class Learner(Protocol):
    """Prunes (or just trains) a task's network. Made by `Learner(config, task, run)`, which computes nothing yet.

    A learner knows its config, its task and its run: no flags, no names of networks or data sets, no other learner.
    """

    needs_dense: bool
    """Whether it starts from a trained model: `task.pretrained` then names one."""

    def train(self) -> None:
        """Carry out the method; a second call after a kill goes on where the first one stopped."""

    def evaluate(self) -> dict:
        """Facts that only the learner knows, JSON-able.

        "plan", if there is one: group of the dense network to the channels that were kept. "masked_vs_shrunk": the
        largest difference that its own equality gates saw. "macs_method" and "params_method": the method's own
        counts, per picture and in all; "macs": what the exported model executes, and
        "layer_costs" as of `export.layer_costs`, where its layers do not tell.
        """

    def export(self) -> keras.Model:
        """The finished model: functional, plain and as small as the method made it."""


@runtime_checkable
class HasLiteForms(Protocol):
    """A learner whose `.tflite` files take other forms than its Keras model: the same function."""

    def export_lite(self, ranges_of: np.ndarray | None = None) -> keras.Model:
        """The function of `export`'s model on one picture.

        Args:
            ranges_of: for a file in eight bits the pictures [N, H, W, C] that set its ranges: nothing may be divided by
                what is rounded to 0 in them, and another form may be the fastest.
        """


@runtime_checkable
class DecidesByPicture(HasLiteForms, Protocol):
    """A learner whose network does something else for each picture, which needs a form of its own in LiteRT.

    Where sums in another order decide a near-tie otherwise, its forms differ on a picture. So `margins` tells the gate
    (`check_decisions`) which pictures have no near-tie: these must all agree, as the median picture must, and
    the share of pictures that differ is reported.
    """

    def margins(self, pictures: np.ndarray) -> np.ndarray:
        """How clear the least clear decision is for each picture [N, H, W, C], [N].

        The difference between what wins and what loses, relative to the sums of magnitudes that both come from.
        """


@runtime_checkable
class RefusesControls(Protocol):
    """A learner whose results some controls (`nets/controls.py`) cannot be compared with."""

    @staticmethod
    def refused_controls(config: Any) -> dict[str, str]:
        """The name of each such control to the reason, in a few words."""


# Of `RefusesControls`, for networks that are more than narrower ones.
NO_PLAIN_SHAPE = "the pruned network is not just a narrower one, whose shape could be trained as it is"


@runtime_checkable
class ChecksFirst(Protocol):
    """A learner that does not take every network."""

    @staticmethod
    def check(config: Any, task: Any) -> None:
        """Raise a UsageError for what can be told before anything, the dense model included, is trained."""
