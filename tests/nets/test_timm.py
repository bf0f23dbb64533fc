"""Published weights by synthetic files: timm's names and shapes written out here, random values."""

import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from secateur.nets import timm
from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.nets.vgg import vgg16_cifar10
from secateur.utils.errors import RunError

WIDTHS = (8, 16, 24, 32)


def norm(name: str, width: int) -> dict:
    """PyTorch's batch norm; the count of batches is in published files and in no Keras layer."""
    shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,))
    return {f"{name}.{part}": shape for part, shape in shapes.items()} | {f"{name}.num_batches_tracked": ()}


def resnet_shapes(nb_blocks: int, bottleneck: bool) -> dict:
    shapes = {"conv1.weight": (WIDTHS[0], 3, 7, 7), **norm("bn1", WIDTHS[0])}
    before = WIDTHS[0]
    for stage, width in enumerate(WIDTHS, start=1):
        after = width * 4 if bottleneck else width
        for block in range(nb_blocks):
            name = f"layer{stage}.{block}"
            kernels = [(width, 1), (width, 3), (after, 1)] if bottleneck else [(width, 3), (width, 3)]
            read = before
            for index, (made, size) in enumerate(kernels, start=1):
                shapes |= {f"{name}.conv{index}.weight": (made, read, size, size), **norm(f"{name}.bn{index}", made)}
                read = made
            if before != after or (stage > 1 and block == 0):
                shapes |= {f"{name}.downsample.0.weight": (after, before, 1, 1), **norm(f"{name}.downsample.1", after)}
            before = after
    return shapes | {"fc.weight": (5, before), "fc.bias": (5,)}


def mobilenet_shapes() -> dict:
    """Blocks (expansion 1, 16 channels, once) and (6, 24, twice) of the published network."""
    shapes = {"conv_stem.weight": (32, 3, 3, 3), **norm("bn1", 32)}
    shapes |= {"blocks.0.0.conv_dw.weight": (32, 1, 3, 3), **norm("blocks.0.0.bn1", 32)}
    shapes |= {"blocks.0.0.conv_pw.weight": (16, 32, 1, 1), **norm("blocks.0.0.bn2", 16)}
    for block, read in enumerate((16, 24)):
        name, hidden = f"blocks.1.{block}", 6 * read
        shapes |= {f"{name}.conv_pw.weight": (hidden, read, 1, 1), **norm(f"{name}.bn1", hidden)}
        shapes |= {f"{name}.conv_dw.weight": (hidden, 1, 3, 3), **norm(f"{name}.bn2", hidden)}
        shapes |= {f"{name}.conv_pwl.weight": (24, hidden, 1, 1), **norm(f"{name}.bn3", 24)}
    shapes |= {"conv_head.weight": (1280, 24, 1, 1), **norm("bn2", 1280)}
    return shapes | {"classifier.weight": (5, 1280), "classifier.bias": (5,)}


NETWORKS = {
    "resnet18": (lambda: resnet_ilsvrc12(18, 5, 32, WIDTHS, (2, 2, 2, 2)), resnet_shapes(2, bottleneck=False)),
    "resnet50": (lambda: resnet_ilsvrc12(50, 5, 32, WIDTHS, (2, 2, 2, 2)), resnet_shapes(2, bottleneck=True)),
    "mobilenet_v2": (lambda: mobilenet_v2(5, 32, 1.0, ((1, 16, 1, 1), (6, 24, 2, 2))), mobilenet_shapes()),
}


def written(path, shapes: dict) -> dict:
    generator = np.random.default_rng(0)
    tensors = {name: generator.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, path)
    return tensors


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_arrives(tmp_path, name):
    build, shapes = NETWORKS[name]
    tensors = written(tmp_path / "w.safetensors", shapes)
    model = build()
    timm.load_weights(model, tmp_path / "w.safetensors")
    assert len(model.weights) == len([name for name in tensors if not name.endswith("tracked")])
    found = sum(float(np.sum(weight)) for weight in model.get_weights())
    expected = sum(float(np.sum(value)) for name, value in tensors.items() if not name.endswith("tracked"))
    assert found == pytest.approx(expected, rel=1e-5)


def test_layouts(tmp_path):
    build, shapes = NETWORKS["mobilenet_v2"]
    tensors = written(tmp_path / "w.safetensors", shapes)
    model = build()
    timm.load_weights(model, tmp_path / "w.safetensors")
    kernel = model.get_layer("stage2_block1_expand").kernel.numpy()
    assert kernel[0, 0, 3, 50] == tensors["blocks.1.0.conv_pw.weight"][50, 3, 0, 0]
    depthwise = model.get_layer("stage2_block2_depthwise").kernel.numpy()
    assert depthwise[2, 1, 7, 0] == tensors["blocks.1.1.conv_dw.weight"][7, 0, 2, 1]
    assert model.get_layer("logits").kernel.numpy()[9, 4] == tensors["classifier.weight"][4, 9]
    norm = model.get_layer("stage1_block1_project_norm")
    assert np.array_equal(norm.moving_variance, tensors["blocks.0.0.bn2.running_var"])


def test_unsuitable_files(tmp_path):
    build, shapes = NETWORKS["resnet18"]
    path = tmp_path / "w.safetensors"
    written(path, {name: shape for name, shape in shapes.items() if not name.startswith("layer4.1.conv2")})
    with pytest.raises(RunError, match=re.escape("no tensor layer4.1.conv2.weight (1 are missing)")):
        timm.load_weights(build(), path)
    written(path, shapes | {"layer5.0.conv1.weight": (1,)})
    with pytest.raises(RunError, match=r"also holds layer5.0.conv1.weight \(1 tensors too many\)"):
        timm.load_weights(build(), path)
    written(path, shapes | {"fc.bias": (7,)})
    with pytest.raises(RunError, match=r"fc.bias has the shape \(7,\)"):
        timm.load_weights(build(), path)
    path.write_bytes(b"rubbish")
    with pytest.raises(RunError, match=r"not a readable \.safetensors file"):
        timm.load_weights(build(), path)
    with pytest.raises(RunError, match="vgg16 has no published names"):
        list(timm.tensor_names(vgg16_cifar10(stages=((4,), (4,), (4,), (4,), (4,)))))
