import keras
import pytest

from secateur.nets.resnet import CIFAR_SIZES, resnet
from secateur.utils.errors import UsageError


@pytest.mark.parametrize("size", CIFAR_SIZES)
def test_depth_is_what_the_name_says(size):
    model = resnet((32, 32, 3), nb_classes=10, resnet_size=size)
    weighted = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    assert len([layer for layer in weighted if not layer.name.endswith("_shortcut")]) == size
    assert model.output_shape == (None, 10)
    assert model.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("size", [2, 18, 51])
def test_other_depths_are_refused(size):
    with pytest.raises(UsageError, match=f"--resnet_size {size}: must be 6n"):
        resnet((32, 32, 3), nb_classes=10, resnet_size=size)


def test_projection_only_where_the_size_changes():
    names = [layer.name for layer in resnet((32, 32, 3), 10, 20).layers if layer.name.endswith("_shortcut")]
    assert names == ["stage2_block1_shortcut", "stage3_block1_shortcut"]
