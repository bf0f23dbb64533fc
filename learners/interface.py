"""What the runner asks of a learner."""

from typing import Protocol, runtime_checkable

import keras


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
        largest difference that its own equality gates saw. "macs_method": the method's own count per picture; "macs":
        what the exported model executes, where its layers do not tell.
        """

    def export(self) -> keras.Model:
        """The finished model: functional, plain and as small as the method made it."""


@runtime_checkable
class DecidesByPicture(Protocol):
    """A learner whose network does something else for each picture, which needs a form of its own in LiteRT.

    On single pictures its forms may differ, where sums in another order decide a near-tie otherwise: the gate looks at
    the median picture, and the share of those that differ is reported.
    """

    def export_lite(self) -> keras.Model:
        """The function of `export`'s model on one picture."""
