import contextlib
import dataclasses
import itertools
import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur import export
from secateur.nets import pipeline, resnet_at_digits_run, runner, runs
from secateur.training.run import Run
from secateur.training.task import Start, Task
from secateur.utils import gpus
from tests.nets import browser
from tests.nets.page import Page
from tests.training.helpers import pictures, tiny_task

# Two steps of every stage: 1,437 pictures in batches of 700.
SHORT = ["--nb_epochs_rat=0.01", "--batch_size=700", "--resnet_size=8", "--mixed_precision=float32"]
SHORT_DCP = ["--dcp_nb_iters_block=2", "--dcp_nb_iters_layer=2", "--dcp_nb_stages=1", "--dcp_nb_smpls=700"]


def run(argv, make_task=resnet_at_digits_run.task, flags=resnet_at_digits_run.Flags) -> int:
    with pytest.raises(SystemExit) as stopped:
        runner.main(make_task, flags, argv)
    return stopped.value.code


def folders(tmp_path) -> list[str]:
    return [f"--log_dir={tmp_path / 'logs'}", f"--save_path={tmp_path / 'models'}"]


def result_of(tmp_path, learner: str) -> dict:
    (path,) = (tmp_path / "logs").glob(f"*_{learner}_*/result.json")
    return json.loads(path.read_text())


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
    assert "pruned in int8" in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["--learner=nothing"], 2, "learner"),
        (["--dcp_prune_ratio=0.5"], 2, "--dcp_prune_ratio belongs to --learner dis-chn-pruned, which was not chosen"),
        (["--learner=dis-chn-pruned", "--dcp_prune_ratio=1.5"], 2, "--dcp_prune_ratio 1.5: must be 0 to 1"),
        (["--bogus=1"], 2, "bogus"),
        (["word"], 2, "'word' is not a flag"),
        (["--batch_size=0"], 2, "--batch_size 0: must be 1 or more"),
        (["--batch_size=2000"], 2, "batch size 2000 on 1 worker(s): digits has only 1437"),
        (["--nb_epochs_rat=-1"], 2, "--nb_epochs_rat -1.0: must be 0 or more"),
        (["--enbl_dst"], 2, "--enbl_dst: a dense network needs a teacher of its own"),
        (["--enbl_dst", "--save_path_dst={tmp}/no.keras"], 1, "no teacher at"),
        (["--enbl_dst", "--learner=dis-chn-pruned", "--tempr_dst=0"], 2, "--tempr_dst 0.0: must be above 0"),
        (["--export_formats=onnx"], 2, "--export_formats onnx: unknown; the formats are keras"),
        (["--latency_threads=0"], 2, "--latency_threads 0: must be 1 or more"),
        (["--seed=-1"], 2, "--seed -1: must be"),
        (["--resnet_size=9"], 2, "--resnet_size 9: must be 6n + 2"),
        (["--exec_mode=eval"], 1, "no finished run in"),
        (["--learner=dis-chn-pruned", "--save_path={tmp}/bad.keras"], 1, "bad.keras is not a readable .keras file"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(tmp_path, capsys, argv, code, says):
    (tmp_path / "bad.keras").write_bytes(b"rubbish")
    argv = [*folders(tmp_path), *(word.format(tmp=tmp_path) for word in argv)]
    assert run(argv) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert says in line


def test_data_that_are_not_there(tmp_path, capsys):
    from secateur.nets import resnet_at_cifar10_run as script

    argv = [*folders(tmp_path), f"--data_dir_local={tmp_path / 'nowhere'}"]
    assert run(argv, script.task, script.Flags) == 1
    assert "Three ways to the data" in capsys.readouterr().err


def test_help_is_grouped_and_leaves_with_zero(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "-n N workers" in "\n".join(shown.splitlines()[:15])
    titles = [
        "handwritten digits",
        "--fcf_prune_ratio FLOAT",
        "Every run:",
        "This network",
        "--learner dis-chn-pruned:",
    ]
    assert all(shown.index(a) < shown.index(b) for a, b in itertools.pairwise(titles))


def test_a_loss_that_explodes_is_named(tmp_path, capsys):
    task = tiny_task(learning_rate=1e30, nb_epochs=4)
    assert run(folders(tmp_path), lambda *_: task, runner.NoFlags) == 1
    assert "error: dense: the loss is" in capsys.readouterr().err


def test_held_out_pictures_and_scaled_epochs():
    settings = runner.Settings(enbl_trn_val_split=True, nb_epochs_rat=0.5, batch_size=7)
    reads = []
    task: Task = tiny_task(nb_epochs=10, nb_epochs_ft=4)
    task = dataclasses.replace(task, load_data=lambda: reads.append(1) or pictures(nb_train=50))
    adapted = runner.adapt(task, settings)
    assert (adapted.recipe.nb_epochs, adapted.recipe.nb_epochs_ft, adapted.recipe.batch_size) == (5, 2, 7)
    assert reads == []
    assert (adapted.load_data().nb_train, adapted.load_data().nb_test) == (45, 5)
    assert reads == [1]


@pytest.mark.parametrize("kind", [tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError])
def test_a_worker_that_lost_another_one_says_so(tmp_path, capsys, kind):
    def fail(*_):
        raise kind(None, None, "Connection reset by peer")

    assert run(folders(tmp_path), fail) == 1
    assert capsys.readouterr().err == "worker 0: another worker is gone; the same command goes on\n"


def test_a_gpu_that_was_chosen_and_is_not_found_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(gpus.MARK, "1")
    assert run(folders(tmp_path)) == 1
    assert "error: a GPU was chosen, but TensorFlow finds none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path, capsys, monkeypatch):
    task = tiny_task(nb_epochs=4)
    argv = [*folders(tmp_path), "--mixed_precision=float32", "--save_step=2", "--summ_step=5"]
    log = Run.log

    def fills_up(self, stage, step, metrics):
        if step == 6:
            (self.directory / "metrics.jsonl").unlink()
            (self.directory / "metrics.jsonl").symlink_to("/dev/full")  # every write to it fails as on a full disk
        log(self, stage, step, metrics)

    monkeypatch.setattr(Run, "log", fills_up)
    assert run(argv, lambda *_: task, runner.NoFlags) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "No space left on device: free some space and run the same command again" in line
    monkeypatch.setattr(Run, "log", log)
    next((tmp_path / "logs").glob("*/metrics.jsonl")).unlink()
    assert run(argv, lambda *_: task, runner.NoFlags) == 0
    assert "dense: continues at step 4" in capsys.readouterr().err


def test_pictures_that_vanish_are_named(tmp_path, capsys):
    from secateur.nets import resnet_at_folder_run as script

    folder = tmp_path / "pictures"
    for part in ("train/a", "train/b", "val/a", "val/b"):
        (folder / part).mkdir(parents=True)
        for k in range(4):
            (folder / part / f"{k}.png").write_bytes(tf.io.encode_png(np.zeros((40, 40, 3), np.uint8)).numpy())

    def make(flags, settings):
        task = script.task(flags, settings)
        task.load_data()
        (folder / "train" / "b" / "1.png").unlink()
        return task

    argv = [*folders(tmp_path), f"--data_dir_local={folder}", "--batch_size=8", "--image_size=32", "--resnet_size=8"]
    assert run(argv, make, script.Flags) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "train/b/1.png" in line
    assert "what was there is gone" in line


def test_published_weights_are_trained_only_if_epochs_are_asked_for(tmp_path):
    model = tiny_task().build_model()
    start = Start("published", lambda: model, tiny_task().build_model)
    task = dataclasses.replace(tiny_task(), start=start)
    argv = [*folders(tmp_path), "--mixed_precision=float32"]
    assert run(argv, lambda *_: task, runner.NoFlags) == 0
    (path,) = (tmp_path / "models").glob("*.keras")
    kept = keras.models.load_model(path)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept.get_weights(), strict=True))
    assert run([*argv, "--nb_epochs=1"], lambda *_: task, runner.NoFlags) == 0
    (trained,) = set((tmp_path / "models").glob("*.keras")) - {path}
    assert not np.array_equal(model.get_weights()[0], keras.models.load_model(trained).get_weights()[0])


def test_other_data_and_another_loss_are_other_runs(tmp_path):
    def name(**changes):
        task = dataclasses.replace(tiny_task(), **changes)
        return runs.run_of(task, "full-prec", {}, runs.Where(str(tmp_path), ""), runs.How()).directory.name

    other = dataclasses.replace(pictures(), name="other noise")
    found = [name(), name(), name(load_data=lambda: other), name(loss=lambda labels, logits: 0.0)]
    assert [found.count(one) for one in found] == [2, 2, 1, 1]


def test_flags_replace_what_the_recipe_says():
    settings = runner.Settings(
        nb_epochs=6, nb_epochs_ft=8, nb_epochs_rat=0.5, lrn_rate=0.3, lrn_rate_ft=0.2, weight_decay=0
    )
    recipe = runner.adapt(tiny_task(), settings).recipe
    assert (recipe.nb_epochs, recipe.nb_epochs_ft) == (3, 4)
    assert (recipe.learning_rate, recipe.learning_rate_ft, recipe.weight_decay) == (0.3, 0.2, 0)
    assert runner.adapt(tiny_task(), runner.Settings()).recipe == tiny_task().recipe
    with pytest.raises(ValueError, match=r"--lrn_rate_ft 0.0: must be above 0"):
        runner.Settings(lrn_rate_ft=0.0)
