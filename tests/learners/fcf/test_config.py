import pytest

from secateur.learners.fcf.config import FcfConfig


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"fcf_prune_ratio": 1.0}, "--fcf_prune_ratio 1.0: must be 0 to below 1"),
        ({"fcf_target_macs": 0.0}, "--fcf_target_macs 0.0: must be above 0"),
        ({"fcf_target_macs": 0.5, "fcf_target_latency": 0.5}, "choose one target"),
        ({"fcf_target_macs": 0.5, "fcf_scope": "filter"}, "--fcf_scope filter takes a ratio"),
        ({"channel_multiple": "auto", "fcf_scope": "filter"}, "--channel_multiple auto needs --fcf_scope group"),
        ({"channel_multiple": "0"}, "--channel_multiple 0: must be 1 or more, or auto"),
        ({"fcf_nb_epochs": 0.0}, "--fcf_nb_epochs 0.0: must be above 0"),
        ({"fcf_lrn_rate": 0.0}, "--fcf_lrn_rate 0.0: must be above 0"),
        ({"fcf_rho_share": 1.5}, "--fcf_rho_share 1.5: must be above 0 and at most 1"),
        ({"fcf_rho_max": 0.001}, "--fcf_rho_max 0.001: must be at least --fcf_rho_init 0.01"),
        ({"fcf_lrn_rate": 0.18}, "from 4/3 on the scalars diverge"),
    ],
)
def test_values_out_of_range(flags, message):
    with pytest.raises(ValueError, match=message):
        FcfConfig(**flags)


def test_defaults_are_the_released_ones_and_stable():
    config = FcfConfig()
    assert config.target is None
    assert (config.fcf_rho_init, config.fcf_rho_max, config.fcf_alpha) == (0.01, 6.0, 0.65)
    assert 2 * config.fcf_lrn_rate * config.fcf_alpha * config.fcf_rho_max < 4 / 3
    assert FcfConfig(fcf_target_latency=0.6).target == ("latency", 0.6)
