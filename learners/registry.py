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
    """A learner and the frozen dataclass that holds its flags."""

    config: type
    learner: type


LEARNERS: dict[str, Entry] = {
    "full-prec": Entry(FullPrecConfig, FullPrecLearner),
    "chn-pruned": Entry(ChnPrunedConfig, ChnPrunedLearner),
    "dis-chn-pruned": Entry(DisChnPrunedConfig, DisChnPrunedLearner),
    "fbs": Entry(FbsConfig, FbsLearner),
    "fcf": Entry(FcfConfig, FcfLearner),
    "stripe": Entry(StripeConfig, StripeLearner),
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
