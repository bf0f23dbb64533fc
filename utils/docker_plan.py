"""What `run_docker.sh` asks the engine for: image, mounts and command, from the command line alone.

Folders that the flags name are mounted at their own paths, those that are only read as read-only, so the flags need no
translation and results lie where they would without a container.
"""

import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from secateur.utils.errors import UsageError
from secateur.utils.gpus import has_nvidia_smi
from secateur.utils.launch import ROOT, parse
from secateur.utils.paths import data_dir_for

# Where the Dockerfile puts the project.
HOME = "/opt/secateur"
# Flags whose folders are written, with the defaults of those that have one, and flags whose files are read.
WRITTEN = {"log_dir": "./logs", "save_path": "./models", "save_path_eval": "", "dcp_save_path": ""}
WRITTEN |= {"dcp_save_path_eval": ""}
READ = ("data_dir_local", "save_path_dst", "warm_start", "pretrained")
# Data sets that are downloaded to ./data where no folder is named.
DOWNLOADED = ("cifar10",)
IMAGE_FILES = ("Dockerfile", ".dockerignore", "requirements.lock", "requirements.gpu.lock", "__init__.py")


class Plan(NamedTuple):
    """What the engine is asked to do.

    Attributes:
        image: its tag, named by what it is built from.
        variant: "cpu" or "gpu".
        command: of the container.
        mounts: folder to "ro" or "rw"; the same path inside and outside.
        gpus: whether GPUs are passed through.
        network: that the image is built and the container run in, "" for the engine's default.
        base: the image that the Dockerfile begins with, "" for its own.
    """

    image: str
    variant: str
    command: list[str]
    mounts: dict[str, str]
    gpus: bool
    network: str
    base: str


def plan_for(argv: Sequence[str], has_nvidia: bool) -> Plan:
    """The plan of a command line.

    Raises:
        UsageError: as `launch.parse`; a GPU wanted, or several workers, where the engine has no NVIDIA runtime.
    """
    own, rest = _own_flags(argv)
    launch = parse(rest)
    several = launch.device == "auto" and launch.nb_gpus > 1
    idle = launch.device == "auto" and has_nvidia_smi()
    if not has_nvidia and (several or idle or launch.device == "gpu"):
        reason = f"-n={launch.nb_gpus}" if several else "this machine has GPUs" if idle else "--device=gpu"
        raise UsageError(
            f"{reason}: the docker engine has no NVIDIA runtime; install the NVIDIA Container Toolkit, or run with "
            "--device=cpu"
        )
    on_gpus = has_nvidia and launch.device != "cpu"
    flags = _flags(launch.arguments)
    data = data_dir_for(_dataset(launch.script), flags.get("data_dir_local"), pathlib.Path("path.conf"))
    # In the container the home folder is another one.
    arguments = [re.sub(r"^(--\w+=)?(~.*)$", _at_home, word) for word in launch.arguments]
    if data and "data_dir_local" not in flags:
        arguments.append(f"--data_dir_local={data}")
        flags["data_dir_local"] = str(data)
    mounts = _mounts(flags)
    if not data and _dataset(launch.script) in DOWNLOADED:
        mounts[str(pathlib.Path("data").resolve())] = "rw"
    own_script = launch.script.resolve()
    script = str(own_script)
    if own_script.is_relative_to(ROOT / "nets"):
        script = f"{HOME}/{own_script.relative_to(ROOT)}"
    else:
        mounts.setdefault(str(own_script.parent), "ro")
    variant = "gpu" if on_gpus else "cpu"
    command = ["-n", str(launch.nb_gpus), f"--device={variant}", script, *arguments]
    image = f"secateur:{variant}-{_digest(own['--base'])}"
    return Plan(image, variant, command, mounts, on_gpus, own["--network"], own["--base"])


def _own_flags(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """`--network=` and `--base=` with their values, and the other words."""
    own, rest = {"--network": "", "--base": ""}, []
    for word in argv:
        flag, separator, value = word.partition("=")
        if separator and flag in own:
            own[flag] = value
        else:
            rest.append(word)
    return own, rest


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """The script's flags by name, `--flag=value` or `--flag value`."""
    found, words = {}, list(arguments)
    for k, word in enumerate(words):
        name, separator, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            found[name] = value if separator else (words[k + 1] if k + 1 < len(words) else "")
    return found


def _at_home(found: re.Match) -> str:
    return (found[1] or "") + str(pathlib.Path(found[2]).expanduser())


def _dataset(script: pathlib.Path) -> str:
    """`cifar10` of `resnet_at_cifar10_run.py`."""
    return script.stem.partition("_at_")[2].removesuffix("_run")


def _mounts(flags: dict[str, str]) -> dict[str, str]:
    mounts = {}
    for name in READ:
        path = pathlib.Path(flags[name]).expanduser().resolve() if flags.get(name) else None
        if path and path.exists():
            mounts[str(path if path.is_dir() else path.parent)] = "ro"
    for name, default in WRITTEN.items():
        value = flags.get(name, default)
        if value:
            path = pathlib.Path(value).expanduser().resolve()
            mounts[str(path.parent if path.suffix else path)] = "rw"
    return mounts


def _digest(base: str) -> str:
    """Of all that the image is made of."""
    digest = hashlib.sha256(base.encode())
    sources = [ROOT / name for name in IMAGE_FILES]
    for package in ("datasets", "export", "learners", "nets", "pruning", "training", "utils"):
        sources += sorted((ROOT / package).rglob("*.py"))
    for path in sources:
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:12]


def describe(plan: Plan) -> str:
    """The plan as lines for a person."""
    mounts = [f"  {path} ({'read-only' if mode == 'ro' else 'written'})" for path, mode in plan.mounts.items()]
    lines = [f"image: {plan.image}", f"GPUs: {'all' if plan.gpus else 'none'}", "mounts:", *mounts]
    return "\n".join([*lines, f"command: {' '.join(plan.command)}"])
