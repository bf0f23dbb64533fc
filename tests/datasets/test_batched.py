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


def test_workers_share_a_batch_of_arrays_and_no_pipeline():
    parts = [next(iter(of_arrays().train_batches(3, 0, rank=rank, size=2)))[1] for rank in range(2)]
    whole = next(iter(of_arrays().train_batches(6, 0)))[1]
    assert sorted(np.concatenate(parts)) == sorted(whole.numpy())
    with pytest.raises(UsageError, match=r"another order on each of the 2 workers.*give arrays, or run one worker"):
        dataset().train_batches(3, 0, rank=1, size=2)


def of_arrays(images=IMAGES, labels=LABELS) -> BatchedDataset:
    return BatchedDataset((images[:14], labels[:14]), (images[14:], labels[14:]))


def number(images) -> list[int]:
    """Which of `IMAGES` these are."""
    return [int(image) // 4 for image in np.asarray(images)[:, 0, 0, 0]]


def test_arrays_are_shuffled_by_seed_and_epoch():
    epochs = [[], []]
    batches = iter(of_arrays().train_batches(7, seed=3))
    for seen in epochs:
        for images, labels in (next(batches), next(batches)):
            seen += number(images)
            np.testing.assert_array_equal(labels, LABELS[number(images)])
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(14))
    assert epochs[0] != epochs[1]
    later = next(iter(of_arrays().train_batches(7, seed=3, first_step=3)))
    assert number(later[0]) == epochs[1][7:]


def test_arrays_of_any_rank():
    for shape in ((20, 5), (20, 4, 3), (20, 2, 2, 2, 1)):
        images = np.random.default_rng(0).normal(size=shape)
        data = of_arrays(images)
        found, labels = next(iter(data.train_batches(14, seed=0)))
        assert (found.shape, found.dtype, labels.shape) == ((14, *shape[1:]), tf.float32, (14,))
        np.testing.assert_allclose(np.sort(found, axis=None), np.sort(images[:14].astype(np.float32), axis=None))


def test_calibration_pictures_of_sorted_arrays_are_of_all_classes():
    data = BatchedDataset((IMAGES, np.sort(LABELS)), (IMAGES, LABELS))
    found = number(data.pictures(8, seed=0))
    assert found == number(data.pictures(8, seed=0)) != number(data.pictures(8, seed=1))
    assert set(np.sort(LABELS)[found]) == {0, 1, 2}


def test_held_out_arrays_leave_the_training_and_are_of_all_classes():
    data = BatchedDataset((IMAGES, np.sort(LABELS)), (IMAGES, LABELS)).hold_out(6)
    assert (data.nb_train, data.nb_test) == (14, 6)
    held = np.concatenate([number(images) for images, _ in data.eval_batches(4)])
    labels = np.concatenate([labels for _, labels in data.eval_batches(4)])
    assert set(labels) == {0, 1, 2}
    assert sorted([*held, *number(data.pictures(14, 0))]) == list(range(20))
    with pytest.raises(UsageError, match="20 held-out pictures: must be 1 to 19"):
        BatchedDataset((IMAGES, LABELS), (IMAGES, LABELS)).hold_out(20)


def test_of_a_pipeline_nothing_can_be_held_out():
    with pytest.raises(UsageError, match=r"pipeline may give its pictures in another order.*give arrays"):
        dataset().hold_out(4)


def test_its_identity_follows_what_is_there():
    changed = IMAGES.copy()
    changed[3] += 1
    found = [of_arrays().identity, of_arrays().identity, of_arrays(changed).identity, dataset().identity]
    assert [found.count(one) for one in found] == [2, 2, 1, 1]
    assert dataset().identity == dataset().identity
    sums = [of_arrays().sha256, of_arrays(changed).sha256, dataset().sha256]
    assert len(set(sums)) == 3
    assert sums[2] == "unknown"


def test_too_few_pictures():
    for data in (dataset(), of_arrays()):
        with pytest.raises(UsageError, match=r"batch size 15 on 1 worker.*only 14 training pictures; choose a smaller"):
            data.train_batches(15, seed=0)
    with pytest.raises(UsageError, match="the validation data are empty"):
        BatchedDataset((IMAGES, LABELS), (IMAGES[:0], LABELS[:0]))


def pipeline(labels=LABELS) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((IMAGES, labels))


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (pipeline().batch(4).repeat(), r"training pipeline never ends: leave out its .repeat\(\)"),
        (pipeline(np.eye(3)[LABELS]).batch(4), r"labels of the shape \(None, 3\): must be one class number"),
        (pipeline(), r"gives single pictures: must give batches, call its .batch"),
        (tf.data.Dataset.from_tensor_slices(IMAGES).batch(4), "must give pairs"),
        (pipeline(LABELS - 1).batch(4), "the training data have the label -1: must be class numbers"),
        ((IMAGES, np.eye(3)[LABELS]), r"labels of the shape \(20, 3\)"),
        ((IMAGES, LABELS[1:]), "20 images and 19 labels"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_line(train, says):
    with pytest.raises(UsageError, match=says):
        BatchedDataset(train, (IMAGES, LABELS))
