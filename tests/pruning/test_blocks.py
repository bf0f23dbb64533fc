import keras

from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet, resnet_ilsvrc12
from secateur.nets.vgg import vgg16_cifar10
from secateur.pruning.blocks import branch_convolutions, classifiers, dispensable, leads_through, projections
from secateur.pruning.calls import record
from tests.pruning import networks


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


def test_groups_a_second_call_and_being_the_last_leave_a_convolution_out():
    inputs, twice = keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 1, name="twice")
    x = keras.layers.Conv2D(4, 3, padding="same", name="plain")(twice(twice(inputs)))
    x = keras.layers.Conv2D(4, 3, padding="same", groups=2, name="grouped")(x)
    x = keras.layers.Conv2D(4, 1, name="classes")(x)
    found = record(keras.Model(inputs, keras.layers.Activation("linear")(keras.layers.Reshape((64, 4))(x))))
    assert branch_convolutions(found) == ["plain"]
    assert classifiers(found) == ["classes"]


def test_biased_blocks_and_sums_written_as_such():
    found = record(networks.residual())
    assert branch_convolutions(found) == ["one_conv1", "one_conv2", "two_conv1", "two_conv2"]
    assert projections(found) == ["one_shortcut"]
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, name="stem")(inputs)
    x = x + keras.layers.Conv2D(4, 3, padding="same", name="inside")(x) + 1.0
    found = record(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x))))
    assert branch_convolutions(found) == ["inside"]
    assert sorted(classifiers(record(networks.several_ends()))) == ["logits", "second"]


def test_squeeze_and_excitation_is_part_of_its_branch():
    inputs, conv = keras.Input((8, 8, 3)), keras.layers.Conv2D
    x = conv(4, 1, name="stem")(inputs)
    y = conv(6, 3, padding="same", name="second")(conv(5, 3, strides=2, padding="same", name="first")(x))
    scales = keras.layers.GlobalAveragePooling2D(keepdims=True)(y)
    scales = conv(6, 1, activation="sigmoid", name="excite")(conv(2, 1, name="squeeze")(scales))
    y = keras.layers.Multiply()([y, scales])
    y = keras.layers.Add()([conv(6, 1, strides=2, name="shortcut")(x), y])
    found = record(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(y))))
    assert branch_convolutions(found) == ["first", "second"]
    assert projections(found) == ["shortcut"]


def test_what_a_way_leads_around():
    """Alone or all together; of branches side by side the last one stays."""
    found = record(networks.residual())
    blocks = ["one_conv1", "one_conv2", "two_conv1", "two_conv2"]
    assert dispensable(found, ["stem", *blocks]) == blocks
    assert not leads_through(found, {"stem"})
    assert leads_through(found, set(blocks))
    assert not leads_through(found, {*blocks, "one_shortcut"})
    assert dispensable(record(networks.concatenated()), ["a", "b", "c", "d"]) == ["a", "b"]
