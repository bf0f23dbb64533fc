import json
import pathlib
import shlex
import subprocess

import pytest

from secateur.utils import cluster_run, slurm_job
from secateur.utils.cluster import Job
from secateur.utils.errors import RunError, UsageError

SCRIPT = "nets/resnet_at_digits_run.py"


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """A function that makes the named clients the only ones; what they read and were given lies in `asked`."""
    monkeypatch.chdir(tmp_path)

    def make(*names, code=0):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            path = folder / name
            path.write_text(f'#!/bin/sh\necho "$0 $*" > {tmp_path}/asked\n/bin/cat >> {tmp_path}/asked\nexit {code}\n')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return make


def test_own_flags_are_taken_out_and_the_rest_reaches_the_script():
    argv = [
        "-j=prune",
        "-n=8",
        "--cluster",
        "slurm",
        "--option=--partition=long",
        SCRIPT,
        "--learner",
        "fcf",
        "--x=a b",
    ]
    kind, job, dry_run = cluster_run.job_of(argv)
    assert (kind, dry_run) == ("slurm", False)
    assert (job.name, job.nb_workers, job.device, job.options) == ("prune", 8, "gpu", ["--partition=long"])
    assert (job.script.name, job.arguments) == ("resnet_at_digits_run.py", ["--learner", "fcf", "--x=a b"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no script given. usage: run_seven.sh"),
        (["--cluster=moon", SCRIPT], "--cluster=moon: must be auto or one of seven, slurm, kubernetes"),
        (["-n=0", SCRIPT], "-n=0: must be a whole number"),
    ],
)
def test_bad_command_lines(argv, says):
    with pytest.raises(UsageError, match=says):
        cluster_run.job_of(argv)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [(["sbatch", "kubectl"], "slurm"), (["kubectl"], "kubernetes"), (["seven", "sbatch"], "seven")],
)
def test_the_first_cluster_that_is_there_is_taken(clients, there, chosen):
    clients(*there)
    assert cluster_run.choose("auto") == chosen


def test_no_cluster_is_an_error_that_names_what_was_looked_for(clients, capsys):
    clients()
    with pytest.raises(RunError, match=r"none of seven \(seven\), sbatch \(slurm\), kubectl \(kubernetes\) is there"):
        cluster_run.choose("auto")
    assert cluster_run.main([SCRIPT, "--cluster=slurm"]) == 1
    assert "none of sbatch (slurm) is there" in capsys.readouterr().err


def test_slurm_gets_a_script_and_its_exit_code_is_passed_on(clients, tmp_path):
    clients("sbatch", code=3)
    assert cluster_run.main(["-n=4", "-j=prune", "--option=--time=2:00:00", SCRIPT, "--learner", "fcf", "--x=a b"]) == 3
    command, *lines = (tmp_path / "asked").read_text().splitlines()
    assert command.strip().endswith("sbatch")
    options = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert {"--job-name=prune", "--ntasks=4", "--gpus-per-task=1", "--requeue", "--time=2:00:00"} <= options
    assert f"--chdir={tmp_path}" in options
    words = next(shlex.split(line) for line in lines if line.startswith("srun"))
    assert words[-3:] == ["--learner", "fcf", "--x=a b"]
    assert words[words.index("secateur.utils.launch") + 1] == "--device=gpu"
    assert subprocess.run(["/bin/bash", "-n"], input="\n".join(lines), text=True).returncode == 0


@pytest.mark.parametrize(("code", "asked"), [(143, "requeue 7\n"), (1, ""), (0, "")])
def test_a_job_that_was_told_to_end_puts_itself_back_into_the_queue(clients, tmp_path, monkeypatch, code, asked):
    clients()
    for name, body in {"srun": f"exit {code}", "scontrol": f'echo "$*" >> {tmp_path}/scontrol'}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    job = Job(pathlib.Path(SCRIPT), [], 2, "cpu", "prune")
    assert subprocess.run(["/bin/bash"], input=slurm_job.script(job), text=True).returncode == code
    told = tmp_path / "scontrol"
    assert (told.read_text() if told.exists() else "") == asked


def test_without_gpus_slurm_is_not_asked_for_any(clients, tmp_path):
    clients("sbatch")
    assert cluster_run.main(["--device=cpu", "-n=2", SCRIPT]) == 0
    text = (tmp_path / "asked").read_text()
    assert "--device=cpu" in text
    assert "gpus-per-task" not in text


def test_kubernetes_gets_its_manifests_by_standard_input(clients, tmp_path):
    clients("kubectl")
    own = ["-n=2", "-j=prune", "--image=local/secateur:gpu", "--volume=runs:/runs"]
    assert cluster_run.main([*own, SCRIPT, "--learner=fcf"]) == 0
    command, _, text = (tmp_path / "asked").read_text().partition("\n")
    assert command.endswith("kubectl create -f -")
    assert [item["kind"] for item in json.loads(text)["items"]] == ["Service", "Job"]


def test_seven_gets_its_own_configuration(clients, tmp_path):
    clients("seven")
    assert cluster_run.main(["-n=8", "-j=prune", SCRIPT, "--learner", "dis-chn-pruned", "--x=a b"]) == 0
    words = (tmp_path / "asked").read_text().split()
    assert words[1:5] == ["create", "-cluster", "dev", "-conf"]
    assert words[-2:] == ["-name", "prune"]
    text = (tmp_path / "seven-prune.yaml").read_text()
    assert 'name: "NB_GPUS", value: "8"' in text
    assert "nvidia.com/gpu: 8" in text
    assert "scripts/run_local.sh nets/resnet_at_digits_run.py -n=8 --learner dis-chn-pruned '--x=a b'" in text


def test_a_dry_run_for_seven_shows_its_configuration_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cluster_run.main(["-n=8", "-j=prune", "--cluster=seven", "--dry_run", SCRIPT]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("seven create -cluster dev")
    assert "nvidia.com/gpu: 8" in shown
    assert not list(tmp_path.iterdir())


def test_seven_gets_no_script_from_outside_of_the_project(clients, tmp_path, capsys):
    clients("seven")
    (tmp_path / "resnet_at_digits_run.py").write_text("")
    assert cluster_run.main(["resnet_at_digits_run.py"]) == 2
    assert f"error: {tmp_path}/resnet_at_digits_run.py is not sent with the project: save it under" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.glob("seven-*.yaml"))


def test_a_dry_run_only_shows(clients, tmp_path, capsys):
    clients()
    assert cluster_run.main(["--dry_run", "--cluster=slurm", "-n=2", SCRIPT]) == 0
    assert capsys.readouterr().out.startswith("sbatch\n#!/bin/bash\n")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("kind", "flag", "says"),
    [
        ("slurm", "--image=an/image", "--image is for seven or kubernetes, and this job is for slurm"),
        ("seven", "--volume=runs:/runs", "--volume is for kubernetes, and this job is for seven"),
        ("kubernetes", "--option=--mem=4G", "--option is for seven or slurm, and this job is for kubernetes"),
    ],
)
def test_flags_of_another_cluster_are_refused(capsys, kind, flag, says):
    assert cluster_run.main(["--dry_run", f"--cluster={kind}", flag, SCRIPT]) == 2
    assert f"error: {says}" in capsys.readouterr().err


def test_help(capsys):
    assert cluster_run.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: run_seven.sh")


def test_a_folder_that_cannot_be_written_is_one_line(clients, monkeypatch, capsys):
    clients("seven")

    def refused(*_):
        raise RunError("seven-prune.yaml cannot be written")

    monkeypatch.setattr(cluster_run, "write_atomically", refused)
    assert cluster_run.main(["-j=prune", SCRIPT]) == 1
    assert capsys.readouterr().err == "error: seven-prune.yaml cannot be written\n"
