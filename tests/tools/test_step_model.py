import pytest

from tests.tools.helpers import load


@pytest.fixture(scope="module")
def model():
    return load("step_model", "benchmarks")


@pytest.fixture
def network(model):
    """100 MB, 300 ms a step, 200 of them backwards."""
    return model.Network(100_000_000, 300.0, 60)


def test_a_ring_moves_every_byte_twice_in_messages_one_after_the_other(model):
    link = model.Link(gb=1.0, message_us=1000.0)
    assert model.ring_ms(100_000_000, 2, link) == pytest.approx(100 + 2)
    assert model.ring_ms(100_000_000, 4, link) == pytest.approx(150 + 6)


def test_a_step_is_compute_and_what_shows_of_the_all_reduce(model, network):
    link = model.Link(gb=1.0, message_us=0.0)
    assert model.efficiency(network, 1, link, 0.0) == 1.0
    assert model.efficiency(network, 2, link, 0.0) == pytest.approx(300 / 400)
    assert model.efficiency(network, 2, link, 0.25) == pytest.approx(300 / 350)
    assert model.efficiency(network, 2, link, 0.5) == 1.0


def test_a_worker_waits_for_its_pictures(model, network):
    link = model.Link(gb=1.0, message_us=0.0)
    # 60 pictures take 500 ms to decode, which hides the all-reduce.
    assert model.efficiency(network, 2, link, 0.0, pictures_per_second=120.0) == pytest.approx(300 / 500)


def test_the_link_of_two_workers_is_found_from_its_times(model):
    link = model.Link(gb=0.5, message_us=400.0)
    found = model.fitted({size: model.ring_ms(size, 2, link) for size in (1 << 16, 1 << 20, 1 << 24)})
    assert found == pytest.approx(link)


def test_the_published_figures_are_explained(model):
    for name, row in model.anchors().items():
        ours = model.efficiency(model.NETWORKS[name], model.NB_ANCHOR, model.LINK, model.OVERLAP)
        assert row["error"] == pytest.approx(ours - row["published"])
    network, size = model.NETWORKS["VGG-16"], model.NB_ANCHOR
    share = float(model.anchors()["VGG-16"]["responsible"].split("%")[0].split()[-1]) / 100
    assert model.efficiency(network, size, model.LINK, share) == pytest.approx(model.ANCHORS["VGG-16"], abs=0.01)


def test_predictions_fall_with_the_number_of_workers(model):
    for table in model.predictions(pictures_per_second=1e4).values():
        for line in table.values():
            assert list(line) == list(model.WORKERS)
            assert list(line.values()) == sorted(line.values(), reverse=True)
