"""MACs (in millions) and parameters (trained ones) of the networks as they were published."""

import keras
import numpy as np
import pytest

from secateur.nets.cifarnet import cifarnet
from secateur.nets.mobilenet import mobilenet_v1, mobilenet_v2, round_to_eights
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.nets.vgg import vgg16_cifar10, vgg16_ilsvrc12
from secateur.pruning import ChannelGraph, cost
from secateur.utils.errors import UsageError


@pytest.mark.parametrize(
    ("build", "macs", "params"),
    [
        (lambda: resnet_ilsvrc12(18), 1814.1, 11_689_512),
        (lambda: resnet_ilsvrc12(34), 3663.8, 21_797_672),
        (lambda: resnet_ilsvrc12(50), 4089.2, 25_557_032),
        (lambda: resnet_ilsvrc12(101), 7801.4, 44_549_160),
        (lambda: resnet_ilsvrc12(152), 11513.6, 60_192_808),
        (lambda: resnet_ilsvrc12(200), 15007.5, 64_673_832),
        (lambda: mobilenet_v1(), 568.7, 4_231_976),
        (lambda: mobilenet_v1(depth_mult=0.5), 149.5, 1_331_592),
        (lambda: mobilenet_v2(), 300.8, 3_504_872),
        (
            lambda: vgg16_ilsvrc12(),
            15470.3,
            138_357_544 - 4_224 + 8_448,
        ),  # scales and offsets of norms instead of biases
        (lambda: vgg16_cifar10(), 313.2, 14_728_266 - 4_224),
        (lambda: cifarnet(), 174.3, 1_296_074),
    ],
)
def test_published_figures(build, macs, params):
    model = build()
    assert cost.macs(model) / 1e6 == pytest.approx(macs, abs=0.1)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == params


def test_deeper_bottlenecks_have_more_blocks():
    layers = [len([x for x in resnet_ilsvrc12(size).layers if x.name.endswith("_add")]) for size in (50, 152, 200)]
    assert layers == [16, 50, 66]
    with pytest.raises(UsageError, match="--resnet_size 20: must be one of 18, 34, 50, 101, 152, 200"):
        resnet_ilsvrc12(20)


def test_every_convolution_of_every_network_can_be_pruned():
    small = [
        resnet_ilsvrc12(18, 5, 64, (8, 8, 16, 16)),
        resnet_ilsvrc12(50, 5, 64, (8, 8, 16, 16), (1, 1, 1, 1)),
        mobilenet_v1(5, 64, 0.25),
        mobilenet_v2(5, 64, 0.35),
        vgg16_cifar10(stages=((8, 8), (8,), (16,), (16,), (16,))),
        vgg16_ilsvrc12(5, 64, ((8, 8), (8,), (16,), (16,), (16,)), 32),
        cifarnet(layers=((8, 1), (8, 2), (16, 2), (16, 1))),
    ]
    for model in small:
        graph = ChannelGraph(model)
        assert [name for name, group in graph.groups.items() if not group.prunable] == ["logits"]
        made = {name for group in graph.groups.values() for name in group.producers}
        assert made >= {layer.name for layer in model.layers if type(layer) is keras.layers.Conv2D}


@pytest.mark.parametrize(("channels", "expected"), [(8, 8), (12, 16), (11.2, 16), (4, 8), (44.8, 48), (33.6, 32)])
def test_widths_in_eights(channels, expected):
    assert round_to_eights(channels) == expected
