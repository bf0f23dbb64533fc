import keras
import pytest

from secateur.learners.dis_chn_pruned.stages import plan_stages, prunable_groups
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph
from secateur.utils.errors import UsageError
from tests.pruning import networks


@pytest.fixture(scope="module")
def resnet20():
    model = resnet((32, 32, 3), nb_classes=10, resnet_size=20)
    return model, ChannelGraph(model)


def test_scope_block_takes_the_inner_channels(resnet20):
    names = [group.name for group in prunable_groups(*resnet20)]
    assert names == [f"stage{s}_block{b}_conv1" for s in (1, 2, 3) for b in (1, 2, 3)]


@pytest.mark.parametrize("nb_stages", range(10))
def test_every_group_is_pruned_once_in_order(resnet20, nb_stages):
    stages = plan_stages(*resnet20, nb_stages)
    assert len(stages) == nb_stages + 1
    assert [stage.index for stage in stages] == list(range(1, nb_stages + 2))
    assert [g.name for stage in stages for g in stage.groups] == [g.name for g in prunable_groups(*resnet20)]
    heads = [stage.head_at for stage in stages]
    assert heads[-1] is None
    assert len(set(heads)) == nb_stages + 1


def test_heads_divide_the_convolutions_evenly_and_sit_after_blocks(resnet20):
    heads = [stage.head_at for stage in plan_stages(*resnet20, 3)]
    assert heads == ["stage1_block2_relu2", "stage2_block1_relu2", "stage3_block1_relu2", None]


def test_groups_of_a_stage_are_read_before_its_head(resnet20):
    model, _ = resnet20
    order = [layer.name for layer in model.layers]
    for stage in plan_stages(*resnet20, 3)[:-1]:
        for group in stage.groups:
            assert max(order.index(name) for name in group.consumers) < order.index(stage.head_at)


def test_more_stages_than_places(resnet20):
    with pytest.raises(UsageError, match=r"--dcp_nb_stages 10: resnet20 has only 9 places .*choose --dcp_nb_stages 9"):
        plan_stages(*resnet20, 10)


def test_without_a_number_there_are_three_or_as_many_as_there_are_places(resnet20):
    assert len(plan_stages(*resnet20)) == 3 + 1
    model = networks.chain()
    assert [stage.head_at for stage in plan_stages(model, ChannelGraph(model))] == ["pool", None]
    model = networks.one_dimensional()
    assert [stage.head_at for stage in plan_stages(model, ChannelGraph(model))] == [None]


def test_a_layer_that_is_called_twice_is_refused():
    model = networks.shared()
    with pytest.raises(UsageError, match=r"shared calls its layer twice 2 times.*--learner chn-pruned"):
        plan_stages(model, ChannelGraph(model), 0)


def test_operations_between_layers_belong_to_the_network():
    """The stream that `x + y` reads is alive until then, so there is no place inside the block."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same", name="b")(x)
    z = keras.layers.ReLU(name="after")(x + y)
    z = keras.layers.Conv2D(4, 3, name="c")(z)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(z)))
    heads = [stage.head_at for stage in plan_stages(model, ChannelGraph(model))]
    assert heads == ["a", "after", None]


def test_a_chain_is_pruned_up_to_its_last_convolution():
    model = networks.chain()
    assert [group.name for group in prunable_groups(model, ChannelGraph(model))] == ["a"]


def test_groups_that_a_dense_layer_reads_stay():
    model = networks.flattened()
    assert prunable_groups(model, ChannelGraph(model)) == []
