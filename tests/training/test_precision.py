import keras
import numpy as np
import pytest

from secateur.nets.resnet import resnet
from secateur.training import precision
from secateur.training.layers import FusedBatchNormalization
from tests.pruning import networks


@pytest.mark.parametrize(
    ("asked", "gpu", "bfloat16", "expected"),
    [
        ("auto", True, True, "float16"),
        ("auto", False, True, "bfloat16"),
        ("auto", False, False, "float32"),
        ("float32", True, True, "float32"),
        ("bfloat16", False, False, "bfloat16"),
    ],
)
def test_resolve(asked, gpu, bfloat16, expected):
    assert precision.resolve(asked, gpu, bfloat16) == expected


@pytest.mark.parametrize(("flags", "found"), [("fma avx512_bf16 avx", True), ("amx_bf16", True), ("avx2", False)])
def test_processor_flags(tmp_path, flags, found):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    assert precision.cpu_has_bfloat16(str(tmp_path / "cpuinfo")) is found


def test_unknown_processor_has_no_bfloat16(tmp_path):
    assert not precision.cpu_has_bfloat16(str(tmp_path / "none"))


@pytest.mark.parametrize("name", list(precision.POLICIES))
def test_training_form(randomise, name):
    model = randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=8))
    trained = precision.to_training(model, name)
    norms = [layer for layer in trained.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    assert all(type(layer) is FusedBatchNormalization for layer in norms)
    assert trained.get_layer("stage2_block1_conv1").compute_dtype == name
    assert {trained.get_layer(end).compute_dtype for end in ("normalise", "logits")} == {"float32"}
    assert {variable.dtype for variable in trained.variables} == {"float32"}
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)
    tolerance = 1e-5 if name == "float32" else 0.1
    np.testing.assert_allclose(trained(pictures), model(pictures), atol=tolerance * 3)
    assert all(type(layer) is not FusedBatchNormalization for layer in model.layers)


@pytest.mark.parametrize("build", [networks.sequential, networks.towers, networks.normalised_at_the_input])
def test_whatever_the_model_is_its_training_form_is_flat_and_the_same_function(randomise, build):
    model = randomise(build())
    trained = precision.to_training(model, "bfloat16")
    assert not [layer for layer in trained.layers if isinstance(layer, keras.Model)]
    assert trained.layers[-1].compute_dtype == "float32"
    pictures = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    exact = precision.to_training(model)
    np.testing.assert_allclose(exact(pictures), model(pictures), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "slow"), [("bfloat16", "float32"), ("float16", "float16")])
def test_widths_that_bfloat16_is_slow_with_stay_float32(name, slow):
    """What reads or makes 24 channels is float32, what reads and makes 16 or 72 is not."""
    trained = precision.to_training(resnet((8, 8, 1), nb_classes=3, resnet_size=8, widths=(16, 24, 72)), name)
    found = {f"stage{k}": trained.get_layer(f"stage{k}_block1_conv1").compute_dtype for k in (1, 2, 3)}
    assert found == {"stage1": name, "stage2": slow, "stage3": slow}
    assert trained.get_layer("stage2_block1_conv1_norm").compute_dtype == slow
    assert trained.get_layer("stage3_block1_conv2").compute_dtype == name
