import dataclasses
import json

import numpy as np
import pytest

from secateur import export
from secateur.datasets.arrays import ArrayDataset, Augment
from secateur.nets.resnet import resnet
from tests.tools.helpers import load


@pytest.fixture(scope="module")
def tool():
    return load("recheck")


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (24, 8, 8, 1)).astype(np.uint8)
    labels = generator.integers(0, 3, 24).astype(np.int32)
    return ArrayDataset("noise", "abc", images[:4], labels[:4], images, labels, Augment(1, True))


@pytest.fixture(scope="module")
def results(tmp_path_factory, data):
    """Two runs: a dense one, and a pruned one with a second form."""
    folder = tmp_path_factory.mktemp("results")
    for name, forms, own in (("dense", ("",), "dense"), ("pruned", ("", "_int8"), "pruned")):
        (folder / name).mkdir()
        for form in forms:
            export.save_tflite(resnet((8, 8, 1), 3, 8, (4, 6, 8)), folder / name / f"model{form}.tflite")
        accuracy = export.evaluate_tflite(folder / name / "model.tflite", data.eval_batches(8))["accuracy"]
        result = {"data": {"name": data.name, "sha256": data.sha256}, own: {"accuracy": accuracy}}
        if own == "pruned":
            other = export.evaluate_tflite(folder / name / "model_int8.tflite", data.eval_batches(8))["accuracy"]
            result["int8"] = {"accuracy": other}
        (folder / name / "result.json").write_text(json.dumps(result))
    return folder


def test_what_was_recorded_is_found_again(tool, results, data, capsys):
    assert tool.evaluated(results, data) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["dense", "pruned", "pruned/int8"]


def test_a_model_that_differs_is_counted_and_named(tool, results, data, capsys):
    path = results / "dense" / "result.json"
    before = path.read_text()
    result = json.loads(before)
    result["dense"]["accuracy"] += 0.01
    path.write_text(json.dumps(result))
    assert tool.evaluated(results, data) == 1
    path.write_text(before)
    assert f"dense: {100 * result['dense']['accuracy']:.2f} % were recorded" in capsys.readouterr().out


def test_other_pictures_are_not_compared(tool, results, data, capsys):
    other = dataclasses.replace(data, test_images=data.test_images[::-1].copy())
    assert tool.evaluated(results, other) == 0
    assert capsys.readouterr().out.count("not checked") == 3


def test_times_of_all_models_by_threads(tool, results):
    found = tool.timed(results, 2)
    assert set(found["threads"]) == {"1", "2"}
    assert set(found["threads"]["1"]) == {"dense", "pruned", "pruned/int8"}
    assert all(row["median"] > 0 for row in found["threads"]["2"].values())
