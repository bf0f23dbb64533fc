import dataclasses

import keras
import numpy as np
import pytest

from secateur.export import save_keras
from secateur.nets.resnet import resnet
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.utils.errors import RunError, UsageError
from tests.pruning import networks
from tests.training.helpers import tiny_task


def test_weights_come_back_from_either_form(tmp_path, randomise):
    task = tiny_task(pretrained=tmp_path / "dense.keras")
    model = randomise(task.build_model())
    save_keras(to_training(model, "bfloat16"), task.pretrained)
    found = load_pretrained(task)
    assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), model.get_weights(), strict=True))
    assert found.dtype_policy.name == "float32"


@pytest.mark.parametrize("build", [networks.sequential, networks.nested, networks.normalised_at_the_input])
def test_a_users_own_file_becomes_one_flat_graph(tmp_path, randomise, build):
    model = randomise(build())
    model.save(tmp_path / "own.keras")
    found = load_pretrained(dataclasses.replace(tiny_task(pretrained=tmp_path / "own.keras"), build_model=build))
    assert not [layer for layer in found.layers if isinstance(layer, keras.Model)]
    pictures = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(found(pictures), model(pictures), rtol=1e-5, atol=1e-6)


def test_a_network_that_does_not_suit_is_refused_before_it_is_pruned(tmp_path):
    networks.several_ends().save(tmp_path / "own.keras")
    task = dataclasses.replace(tiny_task(pretrained=tmp_path / "own.keras"), build_model=networks.several_ends)
    with pytest.raises(UsageError, match=r"several_ends has 1 input\(s\) and 2 output\(s\)"):
        load_pretrained(task)


def test_missing_damaged_and_foreign_files(tmp_path):
    task = tiny_task(pretrained=tmp_path / "none.keras")
    with pytest.raises(RunError, match=r"no pretrained model at .*none\.keras: train it with --learner full-prec"):
        load_pretrained(task)
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(b"PK not really")
    with pytest.raises(RunError, match=r"damaged\.keras is not a readable \.keras file"):
        load_pretrained(dataclasses.replace(task, pretrained=damaged))
    foreign = tmp_path / "foreign.keras"
    save_keras(resnet((8, 8, 1), nb_classes=3, resnet_size=14, widths=(4, 6, 8)), foreign)
    with pytest.raises(RunError, match=r"foreign\.keras holds another network than resnet8_at_noise"):
        load_pretrained(dataclasses.replace(task, pretrained=foreign))
