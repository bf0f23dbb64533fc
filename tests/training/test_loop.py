import json

import keras
import pytest
import tensorflow as tf

from secateur.training.loop import NonFiniteLoss, fit
from secateur.training.run import Stopped
from tests.training.helpers import open_run


class Counter:
    """A step that counts up a variable, and its endless batches 0, 1, 2, …"""

    def __init__(self, bad_at: int = -1):
        self.variable, self.seen, self.bad_at = keras.Variable(0.0), [], bad_at

    def step(self, images, labels):
        self.seen.append(int(images))
        self.variable.assign_add(1.0)
        return {"loss": tf.constant(float("nan") if int(images) == self.bad_at else float(images))}

    @staticmethod
    def batches(first):
        return tf.data.Dataset.range(first, 10_000).map(lambda k: (k, k))


def run_fit(counter, run, nb_steps, callbacks=()):
    with run.open():
        fit(counter.step, counter.batches, nb_steps, run, "s", [counter.variable], callbacks)


def logged(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines]


def test_every_batch_once_and_means_are_logged(tmp_path):
    counter, done = Counter(), []
    run_fit(counter, open_run(tmp_path, summ_step=4), 10, [done.append])
    assert counter.seen == list(range(10))
    assert done == list(range(1, 11))
    assert logged(tmp_path) == [(4, 1.5), (8, 5.5), (10, 8.5)]


def test_stop_saves_and_the_next_run_goes_on(tmp_path):
    """In the middle of a window of metrics, which the stop leaves no trace in."""
    counter, run = Counter(), open_run(tmp_path, summ_step=3)

    def stop(done):
        run.stop_requested = done == 7

    with pytest.raises(Stopped, match="stopped at step 7 of s"):
        run_fit(counter, run, 10, [stop])
    again = Counter()
    run_fit(again, open_run(tmp_path, summ_step=3), 10)
    assert again.seen == [7, 8, 9]
    assert float(again.variable) == 10.0
    assert logged(tmp_path) == [(3, 1.0), (6, 4.0), (9, 7.0), (10, 9.0)]


def test_a_stop_at_the_last_step_ends_the_stage(tmp_path):
    counter, run = Counter(), open_run(tmp_path)

    def stop(done):
        run.stop_requested = done == 10

    run_fit(counter, run, 10, [stop])
    assert float(counter.variable) == 10.0


def test_kill_goes_back_to_the_last_checkpoint(tmp_path):
    class Killed(BaseException):
        pass

    def kill(done):
        if done == 8:
            raise Killed

    counter = Counter()
    with pytest.raises(Killed):
        run_fit(counter, open_run(tmp_path, save_step=3, summ_step=2), 10, [kill])
    again = Counter()
    run_fit(again, open_run(tmp_path, save_step=3, summ_step=2), 10)
    assert again.seen == [6, 7, 8, 9]
    assert float(again.variable) == 10.0
    assert logged(tmp_path) == [(2, 0.5), (4, 2.5), (6, 4.5), (8, 6.5), (10, 8.5)]


def breaking(counter, at):
    """The counter's step, which at a batch leaves weights that are not finite, with a finite loss."""

    def step(images, labels):
        metrics = counter.step(images, labels)
        if int(images) == at:
            counter.variable.assign(float("inf"))
        return metrics

    return step


def test_weights_that_the_last_step_broke_are_not_saved(tmp_path):
    counter = Counter()
    with open_run(tmp_path, save_step=3).open() as run, pytest.raises(NonFiniteLoss, match="not finite after step 6"):
        fit(breaking(counter, 5), counter.batches, 10, run, "s", [counter.variable])
    assert [p.name for p in (tmp_path / "checkpoints" / "s").iterdir()] == ["step-000000003.npz"]


def test_a_stage_whose_last_step_breaks_the_weights_is_not_finished(tmp_path):
    counter = Counter()
    with open_run(tmp_path).open() as run, pytest.raises(NonFiniteLoss, match="not finite after step 10"):
        run.stage(
            "s",
            lambda: fit(breaking(counter, 9), counter.batches, 10, run, "s", [counter.variable]),
            [counter.variable],
        )
    assert not list((tmp_path / "stages").glob("*.npz"))


def test_a_loss_that_is_not_finite_is_found_at_a_checkpoint_too(tmp_path):
    with pytest.raises(NonFiniteLoss, match="loss is nan between steps 1 and 4"):
        run_fit(Counter(bad_at=2), open_run(tmp_path, save_step=4, summ_step=100), 10)
    assert not list((tmp_path / "checkpoints").rglob("*.npz"))


def test_loss_that_is_not_finite_stops_and_names_the_window(tmp_path):
    with pytest.raises(NonFiniteLoss, match="loss is nan between steps 7 and 9: the checkpoint before is kept"):
        run_fit(Counter(bad_at=7), open_run(tmp_path, save_step=6, summ_step=3), 10)
    assert [p.name for p in (tmp_path / "checkpoints" / "s").iterdir()] == ["step-000000006.npz"]


def test_random_generators_follow_the_seed_and_the_stage(tmp_path):
    """Not what the process drew before, which after a kill is less."""
    states = []
    for seed, folder in ((0, "a"), (0, "b"), (1, "c")):
        counter, generator = Counter(), keras.random.SeedGenerator()
        run = open_run(tmp_path / folder, seed=seed)
        with run.open():
            for stage in ("one", "two"):
                fit(counter.step, counter.batches, 1, run, stage, [counter.variable, generator.state])
                states.append(tuple(generator.state.numpy().tolist()))
    assert states[:2] == states[2:4]
    assert len(set(states)) == 4


def test_nothing_to_do(tmp_path):
    counter = Counter()
    run_fit(counter, open_run(tmp_path), 0)
    assert counter.seen == []
