"""The learners by the names that `--learner` takes. A new learner is one line here."""

from typing import Any, NamedTuple

from secateur.learners.chn_pruned.config import ChnPrunedConfig
from secateur.learners.chn_pruned.learner import ChnPrunedLearner
from secateur.learners.dis_chn_pruned.config import DisChnPrunedConfig
from secateur.learners.dis_chn_pruned.learner import DisChnPrunedLearner
from secateur.learners.fbs.config import FbsConfig
from secateur.learners.fbs.learner import FbsLearner
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.learner import FcfLearner
from secateur.learners.full_prec.config import FullPrecConfig
from secateur.learners.full_prec.learner import FullPrecLearner
from secateur.learners.interface import Learner
from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.learner import StripeLearner
from secateur.utils.errors import UsageError


class Entry(NamedTuple):
    """A learner, the frozen dataclass that holds its flags, and what it does in a line."""

    config: type
    learner: type
    summary: str


LEARNERS: dict[str, Entry] = {
    "full-prec": Entry(FullPrecConfig, FullPrecLearner, "trains the dense network"),
    "chn-pruned": Entry(
        ChnPrunedConfig,
        ChnPrunedLearner,
        "removes channels by a criterion, to a ratio or a budget of MACs, size or time",
    ),
    "dis-chn-pruned": Entry(
        DisChnPrunedConfig, DisChnPrunedLearner, "keeps the channels that reconstruct and discriminate, stage by stage"
    ),
    "fbs": Entry(FbsConfig, FbsLearner, "each picture computes only the channels that matter for it"),
    "fcf": Entry(FcfConfig, FcfLearner, "removes filters by binary scalars that are learned with the weights"),
    "stripe": Entry(StripeConfig, StripeLearner, "learns a shape for every filter; dead stripes and filters leave"),
}


def find(name: str) -> Entry:
    """The entry of a name.

    Raises:
        UsageError: no learner has the name.
    """
    if name not in LEARNERS:
        raise UsageError(f"--learner {name}: unknown; the learners are {', '.join(LEARNERS)}")
    return LEARNERS[name]


def create(name: str, config: Any, task: Any, run: Any) -> Learner:
    """The learner of a name, ready to train."""
    return find(name).learner(config, task, run)
