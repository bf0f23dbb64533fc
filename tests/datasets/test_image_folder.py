import pathlib

import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets import image_folder
from secateur.utils.errors import RunError, UsageError


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Three classes of flat colour; JPEG, PNG and one grey picture, of different sizes."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 2)):
        for label, name in enumerate(("ant", "bee", "cat")):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(count):
                shape = (*generator.integers(24, 60, 2), 1 if k == 1 else 3)
                image = np.full(shape, 60 * label + 5 * k, np.uint8)
                encode, suffix = (tf.io.encode_png, "png") if k % 2 else (tf.io.encode_jpeg, "JPEG")
                (tmp_path / part / name / f"{k}.{suffix}").write_bytes(encode(image).numpy())
    return tmp_path


def load(folder) -> image_folder.ImageFolder:
    return image_folder.load(folder, image_size=16)


def value_of(images) -> np.ndarray:
    return np.asarray(images)[:, 8, 8, 0].round().astype(int)


def test_its_identity_follows_files_and_size(folder):
    before = load(folder).identity
    assert before == load(folder).identity != image_folder.load(folder, image_size=17).identity
    (folder / "train" / "ant" / "0.JPEG").unlink()
    assert load(folder).identity != before


def test_counts_labels_and_shapes(folder):
    data = load(folder)
    assert (data.nb_train, data.nb_test, data.labels) == (15, 6, ["ant", "bee", "cat"])
    images, labels = next(iter(data.train_batches(4, seed=0)))
    assert (images.shape, images.dtype, labels.dtype) == ((4, 16, 16, 3), tf.float32, tf.int32)
    np.testing.assert_array_equal(value_of(images) // 60, labels)
    batches = list(data.eval_batches(4))
    assert [len(labels) for _, labels in batches] == [4, 2]
    np.testing.assert_array_equal(np.concatenate([value_of(x) for x, _ in batches]), [0, 5, 60, 65, 120, 125])
    assert data.pictures(4, seed=1).shape == (4, 16, 16, 3)


def test_an_epoch_has_every_picture_once_and_the_next_in_another_order(folder):
    batches = iter(load(folder).train_batches(5, seed=3))
    epochs = [np.concatenate([value_of(next(batches)[0]) for _ in range(3)]) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(60 * c + 5 * k for c in range(3) for k in range(5))
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("first", [1, 3, 4])
def test_batches_are_a_pure_function_of_seed_and_step(folder, first):
    batches = iter(load(folder).train_batches(4, seed=3))
    for _ in range(first):
        next(batches)
    expected, found = next(batches), next(iter(load(folder).train_batches(4, seed=3, first_step=first)))
    np.testing.assert_array_equal(found[0], expected[0])


def test_workers_see_different_pictures(folder):
    parts = [value_of(next(iter(load(folder).train_batches(3, 0, rank=r, size=2)))[0]) for r in range(2)]
    assert not set(parts[0]) & set(parts[1])


def test_held_out_pictures_leave_the_training(folder):
    data = load(folder).hold_out(4)
    assert (data.nb_train, data.nb_test) == (11, 4)
    assert not set(data.train_files) & set(data.test_files)
    with pytest.raises(UsageError, match="15 held-out pictures: must be 1 to 14"):
        load(folder).hold_out(15)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_broken_picture_is_named(folder, part):
    path = folder / part / "bee" / "0.JPEG"
    path.write_bytes(path.read_bytes()[:40])
    data = load(folder)
    batches = data.train_batches(15, seed=0) if part == "train" else data.eval_batches(6)
    with pytest.raises(RunError, match=rf"{path} is not a readable picture .*: replace or remove it"):
        next(iter(batches))


def test_a_picture_of_one_pixel_is_named(folder):
    path = folder / "val" / "cat" / "1.png"
    path.write_bytes(tf.io.encode_png(np.zeros((1, 1, 3), np.uint8)).numpy())
    with pytest.raises(RunError, match=rf"{path} is not a readable picture of two or more pixels"):
        list(load(folder).eval_batches(6))


def test_missing_folders_and_strange_classes(folder, tmp_path):
    with pytest.raises(RunError, match="no folder of pictures named: give --data_dir_local"):
        image_folder.load(None, 16)
    with pytest.raises(RunError, match=r"no pictures in .*nowhere/train/<class>/"):
        load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"batch size 16 on 1 worker\(s\): .* has only 15"):
        load(folder).train_batches(16, seed=0)
    (folder / "val" / "dog").mkdir()
    (folder / "val" / "cat" / "0.JPEG").rename(folder / "val" / "dog" / "0.JPEG")
    with pytest.raises(RunError, match=r"val/dog: there is no such class in .*train"):
        load(folder)
