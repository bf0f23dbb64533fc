import docker
import pytest

from secateur.utils import docker_plan
from secateur.utils.errors import UsageError

SCRIPT = "nets/resnet_at_digits_run.py"


def test_a_machine_with_gpus_does_not_fall_back_to_its_cpu_in_silence(monkeypatch):
    monkeypatch.setattr(docker_plan, "has_nvidia_smi", lambda: True)
    with pytest.raises(UsageError, match="this machine has GPUs: the docker engine has no NVIDIA runtime"):
        docker_plan.plan_for([SCRIPT], has_nvidia=False)
    assert docker_plan.plan_for(["--device=cpu", SCRIPT], has_nvidia=False).command[2] == "--device=cpu"


@pytest.mark.parametrize("flag", ["--device=gpu", "-n=4"])
def test_gpus_that_the_engine_does_not_have_are_an_error(flag):
    with pytest.raises(UsageError, match=f"{flag}: the docker engine has no NVIDIA runtime.*--device=cpu"):
        docker_plan.plan_for([flag, SCRIPT], has_nvidia=False)
    assert docker_plan.plan_for([flag, SCRIPT], has_nvidia=True).command[2] == "--device=gpu"
    assert docker_plan.plan_for(["-n=4", "--device=cpu", SCRIPT], has_nvidia=False).command[2] == "--device=cpu"


def test_the_image_gets_the_program_and_nothing_else(tmp_path):
    packages = ["datasets", "export", "learners/fbs", "nets", "pruning", "training", "utils"]
    sent = [f"{package}/a.py" for package in packages] + ["__init__.py", "LICENSE"]
    sent += ["requirements.lock", "requirements.gpu.lock"]
    others = [
        "data/cifar.tar",
        ".git/config",
        ".mypy_cache/x",
        "logs/a/model.keras",
        "nets/__pycache__/a.pyc",
        "path.conf",
    ]
    for name in [*sent, *others, "Dockerfile", ".dockerignore"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    patterns = (docker_plan.ROOT / ".dockerignore").read_text().splitlines()
    found = docker.utils.exclude_paths(str(tmp_path), [line for line in patterns if not line.startswith("#")])
    assert {name for name in found if (tmp_path / name).is_file()} == {*sent, "Dockerfile", ".dockerignore"}


def test_a_script_of_ones_own_and_a_download(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_at_cifar10_run.py").write_text("")
    plan = docker_plan.plan_for(["mine_at_cifar10_run.py"], has_nvidia=False)
    assert plan.command[3] == str(tmp_path / "mine_at_cifar10_run.py")
    assert plan.mounts[str(tmp_path)] == "ro"
    assert plan.mounts[str(tmp_path / "data")] == "rw"
    assert str(tmp_path / "data") not in docker_plan.plan_for([SCRIPT], has_nvidia=False).mounts


def test_a_script_beside_the_packages_is_mounted(monkeypatch, tmp_path):
    monkeypatch.setattr(docker_plan, "ROOT", tmp_path)
    script = tmp_path / "mine_at_digits_run.py"
    script.write_text("")
    plan = docker_plan.plan_for([str(script)], has_nvidia=False)
    assert plan.command[3] == str(script)
    assert plan.mounts[str(tmp_path)] == "ro"


def test_the_home_folder_is_that_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = docker_plan.plan_for([SCRIPT, "--save_path=~/models", "--log_dir", "~/logs", "--learner=fcf"], False)
    assert plan.command[4:] == [f"--save_path={tmp_path}/models", "--log_dir", f"{tmp_path}/logs", "--learner=fcf"]
    assert plan.mounts[f"{tmp_path}/models"] == "rw"


def test_the_data_folder_comes_from_path_conf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar").mkdir()
    (tmp_path / "path.conf").write_text(f"data_dir_local_cifar10 = {tmp_path / 'cifar'}\n")
    plan = docker_plan.plan_for(["nets/resnet_at_cifar10_run.py", "--save_path=best/model.keras"], has_nvidia=False)
    assert plan.command[-1] == f"--data_dir_local={tmp_path / 'cifar'}"
    assert plan.mounts[str(tmp_path / "cifar")] == "ro"
    assert plan.mounts[str(tmp_path / "best")] == "rw"
