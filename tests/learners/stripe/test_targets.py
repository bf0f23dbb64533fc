import numpy as np
import pytest

from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.targets import EVERY, Targets

NB_STEPS, RAMP = 1000, 600


def test_stripes_and_filters_die_along_the_schedule(parts):
    """Looked at now and then and at the end of the ramp; behind it nothing dies."""
    _, _, skeletons = parts
    config = StripeConfig(stripe_target_macs=0.5, stripe_target_latency=0.7)
    targets = Targets(config, skeletons, {"stage3_block1_conv1": 4}, NB_STEPS)
    size, shares, widths = skeletons.of["stage3_block1_conv1"].shape[-1], [], []
    for done in (EVERY, EVERY + 1, 200, RAMP):
        targets.look(done)
        shares.append(targets.macs_share())
        widths.append(int(skeletons.of["stage3_block1_conv1"].numpy().any(axis=(0, 1)).sum()))
    assert 1.0 > shares[0] == shares[1] > shares[2] > shares[3]
    assert 0.97 * 0.5 <= shares[3] <= 0.5
    assert size >= widths[0] >= widths[2] >= widths[3]
    assert widths[3] <= 4
    assert targets.missed() == ""
    skeletons.of["stage1_block1_conv1"].assign(np.ones(skeletons.of["stage1_block1_conv1"].shape))
    more = targets.macs_share()
    targets.look(RAMP + EVERY)
    assert targets.macs_share() == more


@pytest.mark.parametrize(
    ("widths", "reason"), [({}, "the stripes that died"), ({"stem": 1}, "the filters that died for")]
)
def test_a_target_that_is_missed_is_said(parts, widths, reason):
    _, _, skeletons = parts
    config = StripeConfig(stripe_target_macs=0.5, stripe_target_latency=0.7)
    targets = Targets(config, skeletons, widths, NB_STEPS)
    skeletons.remove_down_to(0.49 * skeletons.macs())
    assert targets.missed() == ""
    skeletons.remove_down_to(0.4 * targets.schedule.whole)
    assert f"of the MACs are left and not 0.5: {reason}" in targets.missed()


def test_without_a_target_nothing_is_looked_at(parts):
    _, _, skeletons = parts
    targets = Targets(StripeConfig(), skeletons, {}, NB_STEPS)
    targets.look(RAMP)
    assert targets.macs_share() == 1.0
    assert targets.missed() == ""
