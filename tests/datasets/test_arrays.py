import itertools

import numpy as np
import pytest

from secateur.datasets.arrays import ArrayDataset, Augment, take
from secateur.utils.errors import UsageError


def numbered(nb_train=10, nb_test=5, augment=None, size=4) -> ArrayDataset:
    """Picture k is filled with k; its label is k as well."""
    images = np.arange(nb_train + nb_test, dtype=np.uint8)[:, None, None, None] * np.ones((size, size, 1), np.uint8)
    labels = np.arange(nb_train + nb_test, dtype=np.int32)
    return ArrayDataset(
        "numbers",
        "ab",
        images[:nb_train],
        labels[:nb_train],
        images[nb_train:],
        labels[nb_train:],
        augment or Augment(),
    )


def first(batches, count):
    return [(images.numpy(), labels.numpy()) for images, labels in itertools.islice(batches, count)]


def test_an_epoch_shows_every_picture_once_in_a_new_order():
    batches = first(numbered().train_batches(5, seed=0), 4)
    epochs = [np.concatenate([batches[k][1], batches[k + 1][1]]) for k in (0, 2)]
    for labels in epochs:
        assert sorted(labels) == list(range(10))
    assert list(epochs[0]) != list(epochs[1])
    for images, labels in batches:
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_a_resumed_stream_goes_on_exactly(start):
    data = numbered(nb_train=11, augment=Augment(pad=2, flip=True))
    whole = first(data.train_batches(4, seed=3), 10)
    rest = first(data.train_batches(4, seed=3, first_step=start), 10 - start)
    for (a, b), (c, d) in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_seeds_give_other_pictures():
    a, b = (first(numbered().train_batches(10, seed=seed), 1)[0][1] for seed in (0, 1))
    assert list(a) != list(b)


def test_workers_share_the_global_batch():
    data = numbered(nb_train=12)
    whole = first(data.train_batches(6, seed=1), 2)
    ranks = [first(data.train_batches(3, seed=1, rank=rank, size=2), 2) for rank in (0, 1)]
    for step in range(2):
        both = np.concatenate([ranks[0][step][1], ranks[1][step][1]])
        np.testing.assert_array_equal(both, whole[step][1])


def test_left_over_pictures_change_with_the_epoch():
    batches = first(numbered(nb_train=7).train_batches(5, seed=0), 12)
    left = {tuple(sorted(set(range(7)) - set(labels))) for _, labels in batches}
    assert len(left) > 1


def gradient(augment: Augment, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Augmented copies of one picture whose values name their place."""
    picture = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1).repeat(count, 0)
    labels = np.zeros(count, np.int32)
    data = ArrayDataset("x", "a", picture, labels, picture, labels, augment)
    return first(data.train_batches(count, seed=0), 1)[0][0][..., 0], picture[0, ..., 0].astype(np.float32)


def test_augmentation_is_reflected_shift_and_mirror():
    found, picture = gradient(Augment(pad=2, flip=True))
    padded = np.pad(picture, 2, mode="symmetric")
    allowed = set()
    for base in (padded, padded[:, ::-1]):
        allowed |= {base[y : y + 6, x : x + 6].tobytes() for y in range(5) for x in range(5)}
    seen = {image.tobytes() for image in found}
    assert seen <= allowed
    assert len(seen) > 40


def test_no_augmentation_changes_nothing():
    found, picture = gradient(Augment(), count=5)
    assert (found == picture).all()


def test_half_is_mirrored():
    found, picture = gradient(Augment(flip=True), count=1000)
    mirrored = np.mean([(image == picture[:, ::-1]).all() for image in found])
    assert 0.4 < mirrored < 0.6


def test_evaluation_keeps_order_and_the_last_small_batch():
    batches = list(numbered().eval_batches(2))
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    assert np.concatenate([labels for _, labels in batches]).tolist() == [10, 11, 12, 13, 14]
    assert sum(len(labels) for _, labels in numbered().eval_batches(2, nb_pictures=3)) == 3


def test_held_out_pictures_are_training_pictures_and_leave_the_training():
    held = numbered().hold_out(3)
    assert (held.nb_train, held.nb_test, held.name) == (7, 3, "numbers, held out")
    assert held.test_labels.tolist() == [7, 8, 9]
    with pytest.raises(UsageError, match="10 held-out pictures: must be 1 to 9"):
        numbered().hold_out(10)


def test_batch_larger_than_the_data():
    with pytest.raises(UsageError, match=r"batch size 6 on 2 worker\(s\): numbers has only 10 training pictures"):
        numbered().train_batches(6, seed=0, size=2)


def test_checksum_sees_every_array():
    data = numbered()
    changed = numbered()
    changed.test_labels[0] += 1
    assert data.sha256 != changed.sha256
    assert data.sha256 == numbered().sha256


def test_calibration_pictures_are_plain_and_repeatable():
    a, b = numbered().pictures(4, seed=2), numbered().pictures(4, seed=2)
    np.testing.assert_array_equal(a, b)
    assert len({float(x) for x in a[:, 0, 0, 0]}) == 4
    assert len(numbered().pictures(99, seed=0)) == 10


def test_take():
    assert len(take(numbered().train_batches(5, seed=0), 3)) == 3
