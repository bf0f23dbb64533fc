import pytest

from secateur.learners.stripe.config import StripeConfig


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"stripe_target_macs": 0.0}, "--stripe_target_macs 0.0: must be above 0"),
        ({"stripe_target_latency": 1.5}, "--stripe_target_latency 1.5: must be above 0 and at most 1"),
        ({"stripe_sr": -1.0}, "--stripe_sr -1.0: must be 0 or more"),
        ({"stripe_start": 0.7}, "--stripe_start 0.7: must be below --stripe_ramp, which is 0.6"),
        ({"stripe_ramp": 0.0}, "--stripe_ramp 0.0: must be above 0"),
        ({"stripe_ramp": 1.0}, "--stripe_ramp 1.0: must be below 1"),
        ({"stripe_nb_epochs": -1.0}, "--stripe_nb_epochs -1.0: must be 0 or more"),
    ],
)
def test_values_out_of_range(flags, message):
    with pytest.raises(ValueError, match=message):
        StripeConfig(**flags)
