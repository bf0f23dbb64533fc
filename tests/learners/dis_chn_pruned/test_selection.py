import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.dis_chn_pruned.layers import with_head
from secateur.learners.dis_chn_pruned.selection import Search, SelectionProblem, select_channels
from secateur.nets.resnet import resnet
from secateur.training.precision import to_training
from secateur.training.task import cross_entropy

READERS = {"stage2_block1_conv2": np.arange(6)}
READER = "stage2_block1_conv2"


@pytest.fixture
def networks(randomise):
    original = randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=8, widths=(4, 6, 8)))
    model = to_training(with_head(original, "stage2_block1_relu2", seed=0))
    return model, original


@pytest.fixture
def batches():
    generator = np.random.default_rng(0)
    return [
        (
            tf.constant(generator.uniform(0, 255, (8, 8, 8, 1)), tf.float32),
            tf.constant(generator.integers(0, 3, 8), tf.int32),
        )
        for _ in range(5)
    ]


def problem_of(networks, batches, readers=READERS, terms="both"):
    model, original = networks
    reference = keras.Model(original.input, [original.get_layer(name).output for name in readers])
    return SelectionProblem(to_training(model), reference, readers, cross_entropy, batches, 1e-2, terms)


def objective(networks, batches) -> float:
    """The loss of the first four batches, computed by whole networks."""
    model, original = networks
    features = keras.Model(model.input, model.get_layer(READER).output)
    reference = keras.Model(original.input, original.get_layer(READER).output)
    losses = [
        0.5 * tf.reduce_mean((features(x) - reference(x)) ** 2) + cross_entropy(y, model(x)[1]) for x, y in batches[:4]
    ]
    return float(tf.add_n(losses) / 4)


def test_norms_are_those_of_the_whole_networks(networks, batches):
    model, _ = networks
    kernel = model.get_layer(READER).kernel
    kernel.assign(kernel * 0.5)
    found = problem_of(networks, batches).norms()
    step, start = 1e-2, kernel.numpy()
    gradient = np.zeros_like(start)
    for index in [(0, 0, 0, 0), (1, 1, 2, 3), (2, 1, 5, 4)]:
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            values.append(objective(networks, batches))
        gradient[index] = (values[0] - values[1]) / (2 * step)
        kernel.assign(start)
    problem = problem_of(networks, batches)
    exact = [problem._gradients_of(*problem._batch())[0].numpy() for _ in range(4)]
    exact = np.mean(exact, axis=0)
    for index in [(0, 0, 0, 0), (1, 1, 2, 3), (2, 1, 5, 4)]:
        assert exact[index] == pytest.approx(gradient[index], rel=5e-2, abs=1e-4)
    np.testing.assert_allclose(found, np.sqrt((exact**2).sum((0, 1, 3))), rtol=1e-4)


@pytest.mark.parametrize("selection", ["add", "remove", "random"])
@pytest.mark.parametrize("nb_kept", [1, 3, 5])
def test_kept_count_masks_and_progress(networks, batches, selection, nb_kept):
    problem, seen = problem_of(networks, batches), []
    kept = select_channels(problem, nb_kept, Search(selection, 6), lambda done, value: seen.append((done, value)))
    assert len(set(kept)) == nb_kept
    assert kept == sorted(kept)
    (kernel,) = problem.kernels()
    alive = np.abs(kernel).sum((0, 1, 3)) > 0
    assert np.flatnonzero(alive).tolist() == kept
    nb_picks = 6 - nb_kept if selection == "remove" else nb_kept
    assert [done for done, _ in seen] == list(range(1, nb_picks + 1))


def test_without_tuning_a_channel_keeps_its_pretrained_weights(networks, batches):
    problem = problem_of(networks, batches)
    pretrained = networks[0].get_layer(READER).kernel.numpy()
    kept = select_channels(problem, 3, Search("add", 0), lambda *_: None)
    np.testing.assert_array_equal(problem.kernels()[0][:, :, kept], pretrained[:, :, kept])


def test_first_pick_adds_the_channel_of_largest_gradient(networks, batches):
    problem = problem_of(networks, batches)
    problem.set_mask(np.zeros(6, np.float32))
    expected = int(np.argmax(problem.norms()))
    assert select_channels(problem_of(networks, batches), 1, Search("add", 0), lambda *_: None) == [expected]


@pytest.mark.parametrize("selection", ["add", "remove", "random"])
def test_fewer_steps_than_picks_mean_several_picks_at_a_time(networks, batches, selection):
    problem, seen = problem_of(networks, batches), []
    nb_kept = 1 if selection == "remove" else 5
    kept = select_channels(problem, nb_kept, Search(selection, 2), lambda done, value: seen.append((done, value)))
    assert len(kept) == nb_kept
    assert [done for done, _ in seen] == [2, 5]
    assert np.isfinite([value for _, value in seen]).all()
    alive = np.abs(problem.kernels()[0]).sum((0, 1, 3)) > 0
    assert np.flatnonzero(alive).tolist() == kept


def test_tuning_lowers_the_loss(networks, batches):
    problem = problem_of(networks, batches)
    mask = np.array([1, 1, 1, 0, 0, 0], np.float32)
    problem.set_mask(mask)
    losses = [problem.tune(mask, 5) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_the_network_being_pruned_is_not_touched(networks, batches):
    before = networks[0].get_weights()
    select_channels(problem_of(networks, batches), 2, Search("add", 4), lambda *_: None)
    assert all(np.array_equal(a, b) for a, b in zip(networks[0].get_weights(), before, strict=True))


def test_objective_is_that_of_the_whole_networks(networks, batches):
    assert problem_of(networks, batches[:4]).objective() == pytest.approx(objective(networks, batches), rel=1e-4)


def test_terms_add_up_and_one_alone_ranks_differently(networks, batches):
    kernel = networks[0].get_layer(READER).kernel
    kernel.assign(kernel * 0.5)
    values = {
        terms: problem_of(networks, batches, terms=terms).objective()
        for terms in ("both", "reconstruction", "discrimination")
    }
    assert values["both"] == pytest.approx(values["reconstruction"] + values["discrimination"], rel=1e-5)
    assert min(values.values()) > 0


@pytest.mark.parametrize(("eps", "multiple"), [(1e9, 1), (1e9, 4), (1e-12, 1)])
def test_adaptive_stop_ends_early_on_a_multiple_or_not_at_all(networks, batches, eps, multiple):
    search = Search("add", 6, adaptive_eps=eps, multiple=multiple)
    kept = select_channels(problem_of(networks, batches), 6, search, lambda *_: None)
    assert len(kept) == (multiple if eps > 1 else 6)


def test_random_order_depends_on_the_seed_alone(networks, batches):
    def kept(seed):
        search = Search("random", 0, seed=seed)
        return select_channels(problem_of(networks, batches), 3, search, lambda *_: None)

    assert kept(1) == kept(1)
    assert len({tuple(kept(seed)) for seed in range(6)}) > 1


def test_readers_that_depend_on_each_other_are_chosen_jointly(networks, batches):
    # The residual stream of the first stage: read by its block, by the next one and by the shortcut.
    names = ["stage1_block1_conv1", "stage2_block1_conv1", "stage2_block1_shortcut"]
    problem = problem_of(networks, batches, {name: np.arange(4) for name in names})
    kept = select_channels(problem, 2, Search("add", 4), lambda *_: None)
    for kernel in problem.kernels():
        assert np.flatnonzero(np.abs(kernel).sum((0, 1, 3)) > 0).tolist() == kept
