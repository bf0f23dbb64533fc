import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.nets import runner
from secateur.training.run import Run
from secateur.training.task import Start
from secateur.utils import gpus
from tests.nets.short_runs import folders, run
from tests.training.helpers import tiny_task


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
        "each picture computes only the channels that matter for it",
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
    argv = [*folders(tmp_path), "--mixed_precision=float32", "--save_step=2", "--summ_step=3"]
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
