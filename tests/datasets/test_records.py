import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets import ilsvrc12
from secateur.utils.errors import RunError, UsageError
from tests.datasets.shards import broken_shards, load, values


@pytest.mark.parametrize("seed_of_the_program", [0, 3])
def test_batches_depend_on_their_own_seed_alone(shards, seed_of_the_program):
    data = load(shards)
    expected = values(next(iter(data.train_batches(12, seed=5)))[0])
    tf.random.set_seed(seed_of_the_program)
    assert values(next(iter(data.train_batches(12, seed=5)))[0]) == expected
    assert values(next(iter(data.train_batches(12, seed=6)))[0]) != expected


def test_an_epoch_has_every_picture_once(shards):
    batches = iter(load(shards).train_batches(6, seed=1))
    epochs = [[v for _ in range(4) for v in values(next(batches)[0])] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(60 * k + 2 * n for k in range(3) for n in range(8))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("first", [2, 5])
def test_batches_are_a_pure_function_of_seed_and_step(shards, first):
    batches = iter(load(shards).train_batches(5, seed=3))
    for _ in range(first):
        next(batches)
    expected, found = next(batches), next(iter(load(shards).train_batches(5, seed=3, first_step=first)))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("size", [2, 3])
def test_workers_see_different_pictures(shards, size):
    parts = [values(next(iter(load(shards).train_batches(4, 0, rank=rank, size=size)))[0]) for rank in range(size)]
    assert len({value for part in parts for value in part}) == 4 * size


def test_held_out_shards_leave_the_training(shards):
    data = load(shards).hold_out(5)
    assert (data.nb_train, data.nb_test) == (18, 6)
    assert sum(len(labels) for _, labels in data.eval_batches(4)) == 6
    with pytest.raises(UsageError, match=r"23 held-out pictures: .* only 4 training shards.*leave out --enbl_trn_val"):
        load(shards).hold_out(23)


def test_a_cut_shard_can_be_held_out(shards, capfd):
    data = load(shards)
    path = pathlib.Path(data.train_shards[-1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    found = data.hold_out(5)
    nb_evaluated = sum(len(labels) for _, labels in found.eval_batches(4))
    path.write_bytes(whole)
    assert found.nb_test == nb_evaluated == 5
    assert f"{path} is cut off after 5 records" in capfd.readouterr().err


def test_records_of_something_else(tmp_path):
    data = broken_shards(tmp_path, count=0)
    with tf.io.TFRecordWriter(data.test_shards[0]) as writer:
        writer.write(b"no picture at all")
    with pytest.raises(RunError, match="a record of ILSVRC-12 is not a picture with its label"):
        list(data.eval_batches(2))


def test_shards_that_vanish_are_named_with_what_to_do(tmp_path):
    data = broken_shards(tmp_path, count=0)
    batches = iter(data.train_batches(2, seed=3))
    next(batches)
    pathlib.Path(data.train_shards[0]).unlink()
    with pytest.raises(RunError, match=r"train-00000-of-00001 cannot be read any more \(No such file.*: bring it back"):
        list(itertools.islice(batches, 20))


@pytest.mark.parametrize("first", [1, 4, 6])
def test_batches_go_on_exactly_around_broken_pictures_and_cuts(tmp_path, first):
    broken_shards(tmp_path, count=2)
    path = tmp_path / "train-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-5])  # five of six records, two of them broken

    def batches(first_step: int):
        return iter(ilsvrc12.load(tmp_path, 16).train_batches(2, seed=3, first_step=first_step))

    undisturbed = batches(0)
    for _ in range(first):
        next(undisturbed)
    for (images, labels), (again, labels_again), _ in zip(undisturbed, batches(first), range(5), strict=False):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
