import keras

from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet, resnet_ilsvrc12
from secateur.nets.vgg import vgg16_cifar10
from secateur.pruning.blocks import branch_convolutions, projections
from secateur.pruning.calls import record


def test_basic_blocks():
    found = record(resnet((8, 8, 1), 3, 14, (4, 6, 8)))
    expected = [f"stage{s}_block{b}_conv{k}" for s in (1, 2, 3) for b in (1, 2) for k in (1, 2)]
    assert branch_convolutions(found) == expected
    assert projections(found) == ["stage2_block1_shortcut", "stage3_block1_shortcut"]


def test_bottlenecks():
    found = record(resnet_ilsvrc12(50, 3, 32, (4, 4, 6, 6), (2, 1, 1, 1)))
    names = branch_convolutions(found)
    assert len(names) == 15
    assert not [name for name in names if "stem" in name or "shortcut" in name]
    assert projections(found) == [f"stage{stage}_block1_shortcut" for stage in (1, 2, 3, 4)]


def test_a_chain_has_no_branches_so_all_its_convolutions_count():
    found = record(vgg16_cifar10(3, 32, ((4, 4), (6,), (8,), (8,), (8,))))
    assert len(branch_convolutions(found)) == 6
    assert projections(found) == []


def test_inverted_residuals_pass_through_depthwise_convolutions():
    found = record(mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2))))
    assert branch_convolutions(found) == [
        "stage1_block1_project",
        "stage2_block2_expand",
        "stage2_block2_project",
    ]


def test_a_bias_or_groups_leave_a_convolution_out():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(4, 3, padding="same", name="biased")(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", groups=2, use_bias=False, name="grouped")(x)
    x = keras.layers.Conv2D(4, 1, use_bias=False, name="plain")(x)
    assert branch_convolutions(record(keras.Model(inputs, x))) == ["plain"]
