import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets.batched import BatchedDataset
from secateur.utils.errors import UsageError

IMAGES, LABELS = np.arange(20 * 4).reshape(20, 2, 2, 1), np.arange(20) % 3


def dataset() -> BatchedDataset:
    train = tf.data.Dataset.from_tensor_slices((IMAGES[:14], LABELS[:14, None])).batch(4)
    return BatchedDataset(train, (IMAGES[14:], LABELS[14:]))


def test_counts_types_and_shapes():
    data = dataset()
    assert (data.nb_train, data.nb_test, list(data.labels)) == (14, 6, ["0", "1", "2"])
    images, labels = next(iter(data.train_batches(5, seed=0)))
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((5, 2, 2, 1), tf.float32, (5,), tf.int32)
    assert [len(labels) for _, labels in data.eval_batches(4)] == [4, 2]
    assert [len(labels) for _, labels in data.eval_batches(4, 3)] == [3]
    np.testing.assert_array_equal(data.pictures(3, seed=0), IMAGES[:3])


@pytest.mark.parametrize("first", [0, 1, 3, 7])
def test_batches_go_on_where_a_killed_run_stopped(first):
    batches = iter(dataset().train_batches(5, seed=0))
    for _ in range(first):
        next(batches)
    expected, found = next(batches)[0], next(iter(dataset().train_batches(5, seed=0, first_step=first)))[0]
    np.testing.assert_array_equal(found, expected)


def test_workers_share_a_batch():
    parts = [next(iter(dataset().train_batches(3, 0, rank=rank, size=2)))[1] for rank in range(2)]
    whole = next(iter(dataset().train_batches(6, 0)))[1]
    assert sorted(np.concatenate(parts)) == sorted(whole.numpy())


def test_held_out_pictures_leave_the_training():
    data = dataset().hold_out(4)
    assert (data.nb_train, data.nb_test) == (10, 4)
    np.testing.assert_array_equal(data.pictures(1, 0), IMAGES[4:5])


def test_its_identity_follows_what_is_there():
    train = (IMAGES[:14], LABELS[:14])
    same, other = BatchedDataset(train, (IMAGES[14:], LABELS[14:])), BatchedDataset(train, (IMAGES[15:], LABELS[15:]))
    assert dataset().identity == same.identity != other.identity


def test_too_few_pictures():
    with pytest.raises(UsageError, match=r"batch size 15 on 1 worker.*only 14 training pictures"):
        dataset().train_batches(15, seed=0)
    with pytest.raises(UsageError, match="the validation data are empty"):
        BatchedDataset((IMAGES, LABELS), (IMAGES[:0], LABELS[:0]))
