import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from secateur.nets import applications, mobilenet_at_ilsvrc12_run, recipes, resnet_at_ilsvrc12_run, runner
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.pruning import ChannelGraph
from secateur.utils.errors import RunError, UsageError


@pytest.mark.parametrize(
    ("build", "preprocessing", "theirs", "config"),
    [
        (keras.applications.MobileNet, "tf", keras.applications.mobilenet, {"alpha": 0.25}),
        (keras.applications.ResNet50, "caffe", keras.applications.resnet, {}),
    ],
)
def test_preprocessing_becomes_part_of_the_network(build, preprocessing, theirs, config):
    keras.utils.set_random_seed(0)
    model = applications.application(build, preprocessing, weights=None, **config)
    keras.utils.set_random_seed(0)
    plain = build(weights=None, classifier_activation=None, input_shape=(224, 224, 3), **config)
    pictures = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    expected = plain(theirs.preprocess_input(pictures.copy()), training=False)
    np.testing.assert_allclose(model(pictures, training=False), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert any(group.prunable for group in ChannelGraph(model).groups.values())


def test_weights_that_cannot_be_had():
    def build(**_):
        raise OSError("no route to host")

    with pytest.raises(RunError, match=r"build's weights cannot be had \(no route to host\)"):
        applications.application(build, "tf")


def test_widths_without_published_weights():
    flags = mobilenet_at_ilsvrc12_run.Flags
    assert flags(mobilenet_version=2, mobilenet_depth_mult=1.3, pretrained="imagenet").pretrained == "imagenet"
    with pytest.raises(ValueError, match=r"--mobilenet_depth_mult 1\.3: .* weights for 0\.25, 0\.5, 0\.75, 1\.0 alone"):
        flags(mobilenet_depth_mult=1.3, pretrained="imagenet")


def test_start_from_a_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"fc.bias": np.zeros(3, np.float32)}, path)
    start = applications.start(str(path), "resnet18", lambda: resnet_ilsvrc12(18, 3, 32, (4,) * 4, (1,) * 4), None)
    assert len(start.name) == 64
    assert start.build_model().name == "resnet18"
    with pytest.raises(RunError, match=r"no tensor conv1.weight"):
        start.load()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("imagenet", "keras.applications has no resnet18"),
        ("weights.pth", "must be imagenet or a .safetensors file"),
        ("none.safetensors", "no such file"),
    ],
)
def test_unsuitable_starts(value, message):
    with pytest.raises(UsageError, match=message):
        applications.start(value, "resnet18", lambda: None, None)


def test_the_task_takes_the_network_of_its_weights():
    flags = resnet_at_ilsvrc12_run.Flags(resnet_size=50, pretrained="imagenet")
    task = resnet_at_ilsvrc12_run.task(flags, runner.Settings())
    assert task.name == "resnet50_at_ilsvrc12"
    assert task.start.name == "keras.applications"
    assert any(layer.name == "conv1_conv" for layer in task.build_model().layers)


def test_recipes_are_the_published_ones():
    phase = recipes.RESNET_AT_ILSVRC12.training
    assert [round(share * phase.nb_epochs) for share in phase.boundaries] == [30, 60, 80, 90]
    fine_tuning = recipes.RESNET_AT_ILSVRC12.fine_tuning
    assert [round(share * fine_tuning.nb_epochs) for share in fine_tuning.boundaries] == [36, 48, 54]
    phase = recipes.MOBILENET_V2_AT_ILSVRC12.training
    assert phase.factor ** len(phase.boundaries) == pytest.approx(0.98 ** (164 * 2.5))
    assert phase.boundaries[-1] < 1
    assert recipes.MOBILENET_V2_AT_ILSVRC12.fine_tuning.boundaries == ()
