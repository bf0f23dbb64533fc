"""Two steps of every stage of every learner on every network, narrow and with one block per stage."""

import collections
import dataclasses
import gc
import importlib
import json
import pathlib
import runpy
import sys
import typing

import keras
import numpy as np
import pytest

from secateur.datasets import cifar10
from secateur.datasets.arrays import ArrayDataset, Augment
from secateur.export import LiteModel, check_equivalence, save_keras
from secateur.learners import registry
from secateur.nets import runner
from secateur.nets.cifarnet import cifarnet
from secateur.nets.mobilenet import mobilenet_v1, mobilenet_v2
from secateur.nets.resnet import resnet, resnet_ilsvrc12
from secateur.nets.vgg import vgg16_cifar10, vgg16_ilsvrc12
from secateur.pruning import cost, shrink
from secateur.training.task import Recipe, Task

RECIPE = Recipe(0.5, 0.01, 0.5, 0.01, batch_size=4, dcp_nb_iters_block=2, dcp_nb_iters_layer=2)
# One or more small builders of each family: (height, channels) and the network.
NETWORKS = {
    "resnet": (16, 3, lambda: resnet((16, 16, 3), 3, 8, (4, 6, 8))),
    "resnet18": (32, 3, lambda: resnet_ilsvrc12(18, 3, 32, (4, 6), (1, 1))),
    "resnet50": (32, 3, lambda: resnet_ilsvrc12(50, 3, 32, (4, 6), (1, 1))),
    "mobilenet_v1": (32, 3, lambda: mobilenet_v1(3, 32, 0.25, ((16, 1), (32, 2), (32, 1)))),
    "mobilenet_v2": (32, 3, lambda: mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2)))),
    "vgg_cifar10": (32, 3, lambda: vgg16_cifar10(3, 32, ((4, 4), (6,), (8,), (8,), (8,)))),
    "vgg_ilsvrc12": (32, 3, lambda: vgg16_ilsvrc12(3, 32, ((4, 4), (6,), (8,), (8,), (8,)), 16)),
    "cifarnet": (16, 3, lambda: cifarnet(3, 16, ((4, 1), (6, 2), (8, 2)))),
}
# Each run script by its networks.
SCRIPTS = {
    "resnet_at_digits_run": {"resnet"},
    "resnet_at_cifar10_run": {"resnet"},
    "resnet_at_folder_run": {"resnet"},
    "resnet_at_ilsvrc12_run": {"resnet18", "resnet50"},
    "mobilenet_at_ilsvrc12_run": {"mobilenet_v1", "mobilenet_v2"},
    "vgg_at_cifar10_run": {"vgg_cifar10"},
    "vgg_at_ilsvrc12_run": {"vgg_ilsvrc12"},
    "cifarnet_at_cifar10_run": {"cifarnet"},
}
FLAGS = {
    "full-prec": [],
    "chn-pruned": ["--chn_scope=all"],
    "fbs": ["--fbs_density=0.4", "--fbs_density_step=0.6", "--fbs_nb_epochs_warm_up=0.5"],
    "stripe": ["--stripe_nb_epochs=1", "--stripe_target_macs=0.3"],
    # The scalars need about a hundred steps to become binary.
    "fcf": ["--fcf_prune_ratio=0.5", "--fcf_nb_epochs=40"],
    "dis-chn-pruned": ["--dcp_nb_stages=1", "--dcp_nb_smpls=8", "--dcp_scope=all"],
}
# Further ways through a learner: network, learner, flag.
VARIANTS = [
    ("mobilenet_v2", "fcf", "--fcf_scope=filter"),
    ("cifarnet", "stripe", "--stripe_freeze_weights=weights"),
]
# Run scripts with the flags of each kind of network that they have, as large as a machine of 24 GiB trains them with
# batches of four. The network of the folder is the one of the digits, and needs pictures.
FULL_SIZE = [
    ("resnet_at_digits_run", {}),
    ("resnet_at_cifar10_run", {"resnet_size": 56}),
    ("resnet_at_ilsvrc12_run", {"resnet_size": 34}),
    ("resnet_at_ilsvrc12_run", {"resnet_size": 50}),
    ("mobilenet_at_ilsvrc12_run", {"mobilenet_version": 1}),
    ("mobilenet_at_ilsvrc12_run", {"mobilenet_version": 2}),
    ("vgg_at_ilsvrc12_run", {}),
    ("vgg_at_cifar10_run", {}),
    ("cifarnet_at_cifar10_run", {}),
]


def test_no_learner_and_no_network_is_left_out():
    scripts = {path.stem for path in pathlib.Path(runner.__file__).parent.glob("*_run.py")}
    assert set(SCRIPTS) == scripts
    assert set.union(*SCRIPTS.values()) == set(NETWORKS)
    assert set(FLAGS) == set(registry.LEARNERS)
    at_full_size = collections.Counter(script for script, _ in FULL_SIZE)
    assert at_full_size == {name: len(SCRIPTS[name]) for name in scripts - {"resnet_at_folder_run"}}


def small_task(height: int, channels: int, build) -> Task:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (24, height, height, channels)).astype(np.uint8)
    labels = (np.arange(24) % 3).astype(np.int32)
    data = ArrayDataset("noise", "abc", images[:16], labels[:16], images[16:], labels[16:], Augment(1, True))
    return Task("small_at_noise", build, lambda: data, RECIPE)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Where the dense model of each network lies, which its first learner trains."""
    return tmp_path_factory.mktemp("models")


@pytest.mark.usefixtures("last_form")
@pytest.mark.parametrize("learner", registry.LEARNERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_two_steps_of_everything(tmp_path, models, randomise, name, learner):
    path = carried_out(tmp_path, models / name, randomise, small_task(*NETWORKS[name]), learner, FLAGS[learner])
    check_files(path, learner)
    check_sizes(path, learner)


@pytest.mark.usefixtures("last_form")
@pytest.mark.parametrize(("name", "learner", "flag"), VARIANTS)
def test_further_ways(tmp_path, models, randomise, name, learner, flag):
    flags = [*FLAGS[learner], flag]
    path = carried_out(tmp_path, models / name, randomise, small_task(*NETWORKS[name]), learner, flags)
    result = check_files(path, learner)
    assert result["pruned"]["macs_method"] < result["dense"]["macs"]


@pytest.mark.usefixtures("last_form")
@pytest.mark.parametrize("learner", ["stripe", "fbs"])
def test_the_result_has_what_eight_bits_chose_between(tmp_path, models, randomise, learner):
    flags = [*FLAGS[learner], "--export_formats=tflite_int8"]
    path = carried_out(tmp_path, models / "resnet", randomise, small_task(*NETWORKS["resnet"]), learner, flags)
    result = check_files(path, learner)
    assert set(result["int8_whole"]) == {"dense", "chosen"}
    assert 0 <= result["int8"]["accuracy"] <= 1


@pytest.mark.full_size
@pytest.mark.parametrize("learner", registry.LEARNERS)
@pytest.mark.parametrize(("script", "network"), FULL_SIZE)
def test_everything_at_full_size(tmp_path, randomise, monkeypatch, script, network, learner):
    gc.collect()  # the models of the case before hold each other, and are gigabytes
    module = importlib.import_module(f"secateur.nets.{script}")
    flags = typing.get_type_hints(module.task)["flags"](**network)
    build = module.task(flags, runner.Settings()).build_model
    _, height, _, channels = build().input_shape
    # An untrained deep network's gradients would outweigh the constraints; its norms follow the gates more slowly.
    more = {"fcf": ["--fcf_alpha=0.99", "--fcf_rho_max=12", "--fcf_lrn_rate=0.05"]}
    more["fbs"] = ["--fbs_nb_epochs_warm_up=12"]
    flags = [*FLAGS[learner], *more.get(learner, [])]
    path = carried_out(tmp_path, tmp_path / "models", randomise, small_task(height, channels, build), learner, flags)
    check_files(path, learner)
    check_sizes(path, learner)


def carried_out(tmp_path, models, randomise, task, learner, flags) -> pathlib.Path:
    """The result of a whole run by the command line."""
    argv = [f"--log_dir={tmp_path / 'logs'}", f"--save_path={models}", f"--learner={learner}"]
    argv += ["--noenbl_layer_latency", *flags]
    if learner == "fbs":  # an untrained network's equal scales are ties, which no two forms break alike
        save_keras(randomise(task.build_model()), tmp_path / "start.keras")
        argv.append(f"--warm_start={tmp_path / 'start.keras'}")
    with pytest.raises(SystemExit) as stopped:
        runner.main(lambda *_: task, runner.NoFlags, argv)
    assert stopped.value.code == 0
    (path,) = (tmp_path / "logs").glob(f"*_{learner}_*/result.json")
    return path


def check_files(path: pathlib.Path, learner: str) -> dict:
    """The files of a run against each other; its result."""
    result = json.loads(path.read_text())
    own = "pruned" if registry.find(learner).learner.needs_dense else "dense"
    assert result["equivalence"]["shrunk_vs_tflite"] < 1e-3
    files = result["files"][own]
    model, found = keras.models.load_model(files["keras"]), LiteModel(files["tflite"])
    images = np.random.default_rng(0).integers(0, 256, (8, *model.input_shape[1:])).astype(np.float32)
    # In a deep gated network a near-tie may be decided the other way on one of the pictures, and these are eight.
    share = 0.5 if learner == "fbs" else 1.0
    assert check_equivalence("both files", np.asarray(model(images)), found.predict(images), 1e-3, share) < 1e-3
    assert {"accuracy", "top5", "loss", "params", "macs", "tflite_bytes", "latency_ms"} <= set(result[own])
    return result


def check_sizes(path: pathlib.Path, learner: str) -> None:
    """What a run removed against what its plan says."""
    result = json.loads(path.read_text())
    if "pruned" not in result:
        return
    assert result["pruned"].get("macs_method", result["pruned"]["macs"]) < 0.55 * result["dense"]["macs"]
    if learner != "fbs":  # which decides picture by picture
        plan = json.loads(path.with_name("plan.json").read_text())
        smaller = shrink(keras.models.load_model(path.with_name("dense.keras")), plan)
        # A method that writes layers in other forms executes what its plan says or, where that is faster, more.
        assert cost.macs(smaller) == result["pruned"]["macs"] or "macs_method" in result["pruned"]


@pytest.mark.parametrize("learner", ["full-prec", "dis-chn-pruned"])
def test_the_script_itself(tmp_path, monkeypatch, learner):
    """CIFAR-10's, with files in the official layout."""
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", 60)
    folder = tmp_path / "data" / cifar10.FOLDER
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in (*cifar10.TRAIN_FILES, *cifar10.TEST_FILES):
        records = generator.integers(0, 256, (60, cifar10.RECORD_BYTES))
        records[:, 0] %= 10
        records.astype(np.uint8).tofile(folder / name)
    short = ["--resnet_size=8", "--noenbl_layer_latency", "--batch_size=150", "--nb_epochs_rat=0.008", *FLAGS[learner]]
    if learner == "dis-chn-pruned":
        short += ["--dcp_nb_iters_block=2", "--dcp_nb_iters_layer=2"]
    places = [f"--data_dir_local={tmp_path / 'data'}", f"--log_dir={tmp_path / 'logs'}", f"--save_path={tmp_path}"]
    path = pathlib.Path(runner.__file__).with_name("resnet_at_cifar10_run.py")
    monkeypatch.setattr(sys, "argv", [str(path), f"--learner={learner}", *short, *places])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name="__main__")
    assert stopped.value.code == 0
    (path,) = (tmp_path / "logs").glob(f"*_{learner}_*/result.json")
    result = json.loads(path.read_text())
    assert result["data"] | {"sha256": ""} == {"name": "CIFAR-10", "train": 300, "test": 60, "sha256": ""}
    assert result["task"] == "resnet8_at_cifar10"


def test_tasks_of_the_scripts_are_as_they_say():
    for name in SCRIPTS:
        module = importlib.import_module(f"secateur.nets.{name}")
        flags = typing.get_type_hints(module.task)["flags"]
        task = module.task(flags(), runner.Settings())
        assert task.name.endswith(name.removesuffix("_run").split("_at_")[1])
        assert dataclasses.is_dataclass(task.recipe)
