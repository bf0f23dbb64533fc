import pytest

from secateur.learners.chn_pruned.config import ChnPrunedConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"chn_prune_ratio": -0.1},
        {"chn_prune_ratio": 1.1},
        {"chn_target_macs": 0.0},
        {"chn_target_latency": 1.5},
        {"chn_nb_rounds": 0},
        {"chn_nb_smpls": 0},
        {"chn_nb_epochs_round": -1.0},
        {"chn_bn_l1": -1.0},
        {"channel_multiple": "none"},
    ],
)
def test_out_of_range_names_flag_value_and_rule(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"--{name} {value}: must be"):
        ChnPrunedConfig(**wrong)


def test_one_target_at_most():
    assert ChnPrunedConfig().target is None
    assert ChnPrunedConfig(chn_target_params=0.3).target == ("params", 0.3)
    with pytest.raises(ValueError, match="--chn_target_macs and --chn_target_latency: choose one target"):
        ChnPrunedConfig(chn_target_macs=0.5, chn_target_latency=0.5)
