import dataclasses
import itertools
import json
import shutil
import sys

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
    """A dense run, a pruned one with a second form and a model that it is compared with, one before fine-tuning."""
    folder, made = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("made")
    for name in ("one", "other"):
        export.save_tflite(resnet((8, 8, 1), 3, 8, (4, 6, 8)), made / name)
    models = itertools.cycle([made / "one", made / "other"])
    runs = {
        "dense": {"dense": "model"},
        "pruned": {"pruned": "model", "int8": "model_int8", "scratch": "scratch"},
        "before_fine_tuning/early": {"pruned": "model"},
    }
    for name, files in runs.items():
        (folder / name).mkdir(parents=True)
        result = {"data": {"name": data.name, "sha256": data.sha256}}
        for key, file in files.items():
            path = folder / name / f"{file}.tflite"
            shutil.copy(next(models), path)
            result[key] = export.evaluate_tflite(path, data.eval_batches(8))
        (folder / name / "result.json").write_text(json.dumps(result))
    return folder


NAMES = ["before_fine_tuning/early", "dense", "pruned", "pruned/int8", "pruned/scratch"]


def test_what_was_recorded_is_found_again(tool, results, data, capsys):
    assert tool.evaluated(results, data) == {tool.SAME: len(NAMES), tool.DIFFERENT: 0, tool.UNCHECKED: 0}
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == NAMES


def test_rows_without_a_file_are_named(tool, results, data, tmp_path, capsys):
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "dense")  # its model is that of the early run
    for name in ("pruned/scratch", "before_fine_tuning/early/model"):
        (tmp_path / f"{name}.tflite").unlink()
    tally = tool.evaluated(tmp_path, data)
    assert (tally[tool.SAME], tally[tool.UNCHECKED]) == (2, 2)
    missing = [line for line in capsys.readouterr().out.splitlines() if "not checked" in line]
    assert [line.split(", ")[1].split(";")[0] for line in missing] == [
        "no model.tflite lies there",
        "no scratch.tflite lies there",
    ]
    assert [line.split(":")[0] for line in missing] == ["before_fine_tuning/early", "pruned/scratch"]


def test_one_file_serves_all_runs_that_were_compared_with_it(tool, results, data, tmp_path, capsys):
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    result = json.loads((tmp_path / "pruned" / "result.json").read_text())
    path = tmp_path / "dense" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scratch": result["scratch"]}))
    assert tool.evaluated(tmp_path, data)[tool.DIFFERENT] == 0
    assert "not checked" not in capsys.readouterr().out


def test_a_model_that_differs_is_counted_and_named(tool, results, data, capsys):
    path = results / "dense" / "result.json"
    before = path.read_text()
    result = json.loads(before)
    result["dense"]["accuracy"] += 0.01
    path.write_text(json.dumps(result))
    assert tool.evaluated(results, data)[tool.DIFFERENT] == 1
    path.write_text(before)
    assert f"dense: {100 * result['dense']['accuracy']:.2f} % were recorded" in capsys.readouterr().out


@pytest.mark.parametrize(("turned", "code"), [(False, 0), (True, 1)])
def test_on_other_pictures_nothing_is_checked_which_is_no_success(
    tool, results, data, monkeypatch, capsys, turned, code
):
    pictures = dataclasses.replace(data, test_images=data.test_images[::-1].copy()) if turned else data
    monkeypatch.setattr(tool.cifar10, "load", lambda _: pictures)
    monkeypatch.setattr(sys, "argv", ["recheck.py", f"--results={results}", "--data_dir=there"])
    with pytest.raises(SystemExit) as stopped:
        tool.main()
    out = capsys.readouterr().out
    assert stopped.value.code == code
    assert out.count("on other pictures, noise") == turned * len(NAMES)
    assert f"{(1 - turned) * len(NAMES)} as recorded, 0 different, {turned * len(NAMES)} not checked" in out


def test_times_of_all_models_by_threads(tool, results):
    found = tool.timed(results, 2)
    assert set(found["threads"]) == {"1", "2"}
    assert set(found["threads"]["1"]) == set(NAMES)
    assert all(row["median"] > 0 for row in found["threads"]["2"].values())
