import contextlib
import json
import re
import shutil

import pytest

from secateur import export
from secateur.nets import pipeline
from tests.nets import browser
from tests.nets.page import Page
from tests.nets.short_runs import SHORT, SHORT_DCP, folders, result_of, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished short run: its folder and its command line."""
    tmp_path = tmp_path_factory.mktemp("finished")
    argv = [*SHORT, *folders(tmp_path), "--learner=dis-chn-pruned", *SHORT_DCP]
    assert run(argv) == 0
    return tmp_path, argv


def test_files_of_a_run(finished):
    (folder,) = (finished[0] / "logs").glob("*_dis-chn-pruned_*")
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.json",
        "metrics.jsonl",
        "result.json",
        "model.keras",
        "model.tflite",
        "labels.txt",
        "events",
        "report.html",
    } <= names
    assert len((folder / "labels.txt").read_text().split()) == 10
    assert len(list((finished[0] / "models").glob("resnet8_at_digits_*.keras"))) == 1


def test_the_page_of_a_run(finished, monkeypatch, capsys):
    (path,) = (finished[0] / "logs").glob("*_dis-chn-pruned_*/report.html")
    found, result = Page(path.read_text()), result_of(finished[0], "dis-chn-pruned")
    assert found.references == []
    assert {"Channels kept", "Multiply-accumulates by layer", "Channel groups of the dense network"} <= set(
        found.headings
    )
    assert set(result["layer_costs"]) == {"dense", "pruned"}
    assert f"{100 * result['pruned']['accuracy']:.2f} %" in path.read_text()
    assert all(result[name] in found.code[-1] for name in ("commit", "task"))
    monkeypatch.chdir(path.parent)
    for block in found.code[:-1]:
        exec(block, {})
    labels = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(labels) == 2
    assert labels[0] == labels[1]


@pytest.mark.skipif(not browser.BROWSER, reason="no chromium on this machine")
def test_the_page_in_a_browser(finished, tmp_path):
    """It never is wider than the window, and its texts are dark on light, or light on dark."""
    (path,) = (finished[0] / "logs").glob("*_dis-chn-pruned_*/report.html")
    for dark in (False, True):
        narrow, wide = browser.measured(path.read_text(), (400, 1600), tmp_path, dark)
        assert narrow["width"] <= 400
        assert wide["width"] <= 1600
        levels = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in wide["colours"]]
        assert len(levels) > 0
        assert all(level > 110 if dark else level < 150 for level in levels)


def test_a_finished_run_prints_its_table_again_and_alters_nothing(finished, capsys):
    tmp_path, argv = finished
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}
    assert run(argv) == 0
    assert "MACs" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file() and p.name != "lock"}


def test_evaluation_of_the_exported_files(finished, capsys):
    tmp_path, argv = finished
    assert run([*argv, "--exec_mode=eval", "--batch_size_eval=77"]) == 0
    shown = capsys.readouterr().out
    accuracy = result_of(tmp_path, "dis-chn-pruned")["pruned"]["accuracy"]
    assert f"pruned, Keras model: accuracy {accuracy:.4f}" in shown
    assert f"{100 * accuracy:.2f} %" in shown


def test_a_file_is_scored_once(finished, monkeypatch):
    """A run that is killed before its result is written, and another one with the same dense model."""
    (path,) = (finished[0] / "logs").glob("*_dis-chn-pruned_*/result.json")
    before = json.loads(path.read_text())
    path.unlink()
    monkeypatch.setattr(export, "evaluate_tflite", lambda *_: pytest.fail("scored again"))
    assert run(finished[1]) == 0
    after = json.loads(path.read_text())
    assert [after[name]["accuracy"] for name in ("dense", "pruned")] == [
        before[name]["accuracy"] for name in ("dense", "pruned")
    ]


def test_an_exported_file_that_is_gone_is_named_and_can_be_made_again(finished, capsys):
    (result,) = (finished[0] / "logs").glob("*_dis-chn-pruned_*/result.json")
    paths = [result.with_name(name) for name in ("model.tflite", "model.keras")]
    for path in paths:
        path.unlink()
        assert run([*finished[1], "--exec_mode=eval"]) == 1
        assert f"error: {path} is gone: bring it back, or remove {result}" in capsys.readouterr().err
    result.with_name("report.html").unlink()
    assert run(finished[1]) == 1
    assert f"error: {paths[-1]} is gone" in capsys.readouterr().err
    result.unlink()
    assert run(finished[1]) == 0
    assert all(path.is_file() for path in paths)


def test_same_budget_is_added_to_a_finished_run(finished, capsys):
    assert run([*finished[1], "--enbl_same_budget"]) == 0
    assert "lost against it" in capsys.readouterr().out
    assert set(result_of(finished[0], "dis-chn-pruned")["dense_same_budget"]) == {"accuracy", "top5", "loss", "file"}


def test_the_shape_from_scratch_is_added_to_a_finished_run(finished, capsys):
    assert run([*finished[1], "--enbl_scratch"]) == 0
    assert "from scratch" in capsys.readouterr().out
    found = result_of(finished[0], "dis-chn-pruned")["scratch"]
    assert set(found) == {"accuracy", "top5", "loss", "file"}
    own = export.LiteModel(result_of(finished[0], "dis-chn-pruned")["files"]["pruned"]["tflite"])
    assert export.LiteModel(found["file"]).input_shape == own.input_shape


def test_more_formats_and_threads_are_added_to_a_finished_run(finished, capsys):
    before = result_of(finished[0], "dis-chn-pruned")
    assert run([*finished[1], "--export_formats=tflite_int8", "--latency_threads=2"]) == 0
    assert run([*finished[1], "--export_formats=pb,tflite_float16"]) == 0
    result = result_of(finished[0], "dis-chn-pruned")
    assert set(result["files"]["pruned"]) == {"keras", "tflite", "tflite_float16", "tflite_int8", "pb"}
    assert set(result["files"]["dense"]) == {"keras", "tflite"}
    assert set(result["equivalence"]["formats"]) == set(result["files"]["pruned"])
    assert {"accuracy", "tflite_bytes", "latency_ms"} <= set(result["int8"])
    assert result["pruned"]["accuracy"] == before["pruned"]["accuracy"]
    assert 0 < result["pruned"]["delegated_share"] <= 1
    assert "pruned, int8" in capsys.readouterr().out


def test_dense_model_may_be_a_file_and_exports_may_go_elsewhere(finished, tmp_path, capsys):
    (dense,) = (finished[0] / "models").glob("*.keras")
    argv = [*SHORT, "--learner=dis-chn-pruned", *SHORT_DCP, f"--log_dir={tmp_path / 'logs'}", f"--save_path={dense}"]
    assert run([*argv, f"--dcp_save_path={tmp_path / 'state'}", f"--dcp_save_path_eval={tmp_path / 'out'}"]) == 0
    assert f"starting from the pretrained model {dense}" in capsys.readouterr().err
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name in {path.name for path in (tmp_path / "logs").iterdir()}
    assert {path.name for path in folder.iterdir()} >= {"model.tflite", "model.keras", "labels.txt"}
    assert list((tmp_path / "state").rglob("fine_tune.npz"))


def test_a_dense_model_that_another_run_makes_meanwhile_is_taken(finished, tmp_path, monkeypatch):
    (dense,) = (finished[0] / "models").glob("*.keras")

    @contextlib.contextmanager
    def waited(path):
        shutil.copy(dense, path)
        yield

    (tmp_path / "models").mkdir()
    monkeypatch.setattr(pipeline, "locked", waited)
    monkeypatch.setattr(pipeline, "train_dense", lambda *_: pytest.fail("trained another one"))
    assert run([*SHORT, "--learner=chn-pruned", *folders(tmp_path)]) == 0
    assert [path.name for path in (tmp_path / "models").iterdir()] == [dense.name]


def test_distillation_from_the_dense_model_is_a_run_of_its_own(finished, capsys):
    assert run([*finished[1], "--enbl_dst", "--loss_w_dst=2"]) == 0
    paths = sorted((finished[0] / "logs").glob("*_dis-chn-pruned_*/config.json"))
    configs = [json.loads(path.read_text()) for path in paths]
    (distilled,) = [config["distillation"] for config in configs if "distillation" in config]
    assert (distilled["weight"], distilled["temperature"]) == (2.0, 4.0)
    assert distilled["teacher"] == configs[0]["start"]
    (folder,) = [path.parent for path, config in zip(paths, configs, strict=True) if "distillation" in config]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all("distillation" in line for line in lines)
    shutil.rmtree(folder)  # the other tests know one run
