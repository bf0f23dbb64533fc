import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.stripe import ops

ALL = {"": 1.0}
LAYERS = {"a": ops.StripeLayer(36 * 3 * 100, ALL), "b": ops.StripeLayer(54 * 4 * 25, {"a": 1.0})}


def skeletons(seed=0):
    generator = np.random.default_rng(seed)
    shapes = {"a": (3, 3, 4), "b": (3, 3, 6)}
    return {name: generator.uniform(0.01, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_skeleton_scales_stripes():
    generator = np.random.default_rng(0)
    kernel, skeleton = generator.normal(size=(3, 3, 2, 4)), generator.normal(size=(3, 3, 4))
    found = ops.scaled_kernel(tf.constant(kernel), tf.constant(skeleton)).numpy()
    np.testing.assert_allclose(found[0, 2, :, 3], kernel[0, 2, :, 3] * skeleton[0, 2, 3])
    np.testing.assert_allclose(found, np.einsum("hwio,hwo->hwio", kernel, skeleton))


def test_dead_stripes_get_no_gradient_and_live_ones_the_subgradient():
    skeleton = tf.constant([[[0.5, -0.5, 0.0]]])
    found = ops.skeleton_gradient(tf.constant([[[1.0, 1.0, 1.0]]]), skeleton, 0.25)
    np.testing.assert_allclose(found, [[[1.25, 0.75, 0.0]]])


def test_the_threshold_is_exclusive():
    found = ops.thresholded(tf.constant([[[0.01, -0.011, 0.009]]]), tf.constant(0.01))
    np.testing.assert_allclose(found, [[[0.0, -0.011, 0.0]]])
    np.testing.assert_allclose(ops.alive(found), [[[0.0, 1.0, 0.0]]])


def test_initial_skeletons_keep_the_function_and_the_order_of_norms():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 5, 4)) * np.arange(1, 5)
    kernel[0, 0, :, 0] = 0
    skeleton = ops.initial_skeleton(kernel)
    assert skeleton.min() == pytest.approx(1e-3)
    scaled = kernel / skeleton[:, :, None, :]
    np.testing.assert_allclose(ops.scaled_kernel(tf.constant(scaled), tf.constant(skeleton, tf.float64)), kernel)
    order = np.argsort(np.square(kernel).sum(axis=2).ravel())
    assert (np.diff(skeleton.ravel()[order]) >= 0).all()


def test_macs_count_live_stripes_and_the_inputs_that_live():
    values = skeletons()
    assert ops.method_macs(values, LAYERS) == 36 * 3 * 100 + 54 * 4 * 25
    values["a"][:, :, 1] = 0
    values["b"][0, 0, 0] = 0
    assert ops.method_macs(values, LAYERS) == 27 * 3 * 100 + 53 * 3 * 25


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_the_threshold_meets_a_budget_with_the_fewest_deaths(share):
    values = skeletons(1)
    budget = share * ops.method_macs(values, LAYERS)
    threshold = ops.threshold_for(budget, values, LAYERS)
    found, wider = (ops.method_macs(values, LAYERS, threshold=x) for x in (threshold, 0.97 * threshold))
    assert found <= budget < wider
    assert ops.threshold_for(1e9, values, LAYERS) == 0.0


def test_a_layer_leaves_with_all_that_read_it():
    layers = {
        "a": ops.StripeLayer(120, ALL, readers=("b", "c")),
        "b": ops.StripeLayer(160, {"a": 1.0}),
        "c": ops.StripeLayer(160, {"a": 1.0}),
    }
    values = {name: np.ones((1, 1, 4)) for name in layers}
    values["b"][:] = 0
    assert ops.method_macs(values, layers) == 120 + 160
    values["c"][:] = 0
    assert ops.method_macs(values, layers) == 0
    assert not ops.live_stripes(values, layers)["a"].any()


def test_what_reads_nothing_gives_constants():
    """As a bottleneck whose first convolution died; its last one then reads nothing that is computed."""
    layers = {name: ops.StripeLayer(160, {source: 1.0}) for name, source in {"a": "", "b": "a", "c": "b"}.items()}
    values = {name: np.ones((1, 1, 4)) for name in layers}
    assert ops.method_macs(values, layers) == 3 * 160
    values["a"][:] = 0
    assert ops.method_macs(values, layers) == 0
    live = ops.live_stripes(values, layers)
    assert {name: found.mean() for name, found in live.items()} == {"a": 0, "b": 1, "c": 1}
    assert not any(found.any() for found in ops.computed(live, layers).values())


def test_what_reads_several_layers_or_has_no_skeleton_counts_by_shares():
    """A reader of a concatenation, a depthwise convolution behind one layer, a dense layer behind two."""
    layers = {"a": LAYERS["a"], "b": ops.StripeLayer(1000, {"a": 0.25, "": 0.75})}
    others = [ops.OtherKernel(400, ({"a": 1.0},)), ops.OtherKernel(100, ({"a": 0.5, "": 0.5}, ALL))]
    values = {"a": np.ones((3, 3, 4)), "b": np.ones((1, 1, 2))}
    assert ops.method_macs(values, layers, others) == 10800 + 1000 + 400 + 100
    values["a"][:, :, :2] = 0
    assert ops.method_macs(values, layers, others) == 5400 + 875 + 200 + 75


def test_the_strongest_stripe_of_a_layer_that_must_stay_lives():
    layers = {"a": LAYERS["a"]._replace(keeps_one=True), "b": LAYERS["b"]}
    values = skeletons()
    values["a"][1, 2, 3] = -2.0
    live = ops.live_stripes(values, layers, threshold=5.0)
    assert np.argwhere(live["a"]).tolist() == [[1, 2, 3]]
    assert not live["b"].any()
    assert ops.method_macs(values, layers, threshold=np.inf) == 3 * 100


def test_the_schedule_falls_from_one_to_the_target():
    schedule = ops.Schedule(start=10, end=110, target=0.4, whole=1000)
    shares = [schedule(step) / 1000 for step in (0, 10, 20, 60, 110, 150)]
    assert shares[:2] == [1.0, 1.0]
    assert shares[-2:] == [0.4, 0.4]
    assert shares == sorted(shares, reverse=True)
    assert shares[1] - shares[2] > (shares[3] - shares[4]) / 5


def test_survival_is_the_share_of_filters_at_each_position():
    skeleton = np.ones((3, 3, 4))
    skeleton[0, 0, :3] = 0
    found = ops.survival([skeleton, np.ones((3, 3, 2))])
    assert found[0, 0] == pytest.approx((0.25 + 1) / 2)
    assert found[1, 1] == 1.0
