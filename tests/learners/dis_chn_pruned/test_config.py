import dataclasses

import pytest

from secateur.learners.dis_chn_pruned import stages
from secateur.learners.dis_chn_pruned.config import DisChnPrunedConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"dcp_prune_ratio": -0.1},
        {"dcp_prune_ratio": 1.1},
        {"dcp_nb_stages": -1},
        {"dcp_lrn_rate_adam": 0.0},
        {"dcp_nb_iters_block": -1},
        {"dcp_nb_iters_layer": -1},
        {"dcp_nb_smpls": 0},
        {"channel_multiple": "0"},
        {"channel_multiple": "some"},
        {"dcp_adaptive_eps": 0.0},
    ],
)
def test_out_of_range_names_flag_value_and_rule(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"--{name} {value}: must be"):
        DisChnPrunedConfig(**wrong)


@pytest.mark.parametrize(
    ("flags", "says"), [({"dcp_selection": "remove"}, "must be add"), ({"channel_multiple": "auto"}, "needs a ratio")]
)
def test_adaptive_stop_says_what_it_does_not_go_with(flags, says):
    with pytest.raises(ValueError, match=says):
        DisChnPrunedConfig(dcp_adaptive_eps=0.001, **flags)


def test_the_flags_of_the_original_and_their_defaults():
    defaults = dataclasses.asdict(DisChnPrunedConfig())
    assert (defaults["dcp_prune_ratio"], stages.NB_STAGES, defaults["dcp_lrn_rate_adam"]) == (0.5, 3, 1e-3)
    assert defaults["dcp_nb_stages"] is None
    assert {"dcp_save_path", "dcp_save_path_eval", "dcp_nb_iters_block", "dcp_nb_iters_layer"} <= set(defaults)
    assert defaults["channel_multiple"] == "1"
    assert defaults["dcp_adaptive_eps"] is None
