"""Runs a script in a container: `python -m secateur.utils.docker_run [-n N] [--device=…] [--dry_run] … SCRIPT [FLAGS]`.

The image is built from the project's Dockerfile. Folders that the flags name are mounted at their own paths, those that
are only read as read-only, so the flags need no translation and results lie where they would without a container.
"""

import hashlib
import os
import pathlib
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import docker

from secateur.utils.errors import RunError, UsageError
from secateur.utils.gpus import has_nvidia_smi, idle_gpus
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
LINES_OF_A_FAILED_BUILD = 15
# Of one request; some storage drivers copy the whole image when a container is made.
TIMEOUT_SECONDS = 900
# NCCL needs more than the engine's 64 MB.
SHARED_MEMORY = "1g"

HELP = {"-h", "--help"}
USAGE = (
    "usage: run_docker.sh [-n N] [--device=auto|cpu|gpu] [--dry_run] [--network=NAME] [--base=IMAGE] "
    "nets/<network>_at_<data>_run.py [flags of the script]"
)


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


def connect() -> docker.DockerClient:
    """The engine of this machine.

    Raises:
        RunError: none runs, or this user may not use it.
    """
    try:
        client = docker.from_env(timeout=TIMEOUT_SECONDS)
        client.ping()
    except docker.errors.DockerException as error:
        if "Permission denied" in str(error) or "PermissionError" in str(error):
            raise RunError(
                "this user may not use the docker engine: join the group docker (sudo usermod -aG docker $USER, then "
                "log in again), or run with sudo"
            ) from None
        raise RunError(
            f"no docker engine answers ({str(error).splitlines()[0][:120]}): start it (sudo systemctl start docker), "
            "or run without a container: run_local.sh"
        ) from None
    return client


def has_nvidia(client: docker.DockerClient) -> bool:
    return "nvidia" in client.info().get("Runtimes", {})


def _would_have_nvidia() -> bool:
    """As the engine says; where none answers, a plan can still be shown: then nvidia-smi is taken for it."""
    try:
        return has_nvidia(connect())
    except RunError:
        return idle_gpus() is not None


def build_image(client: docker.DockerClient, plan: Plan) -> None:
    """Build the image, unless it is there.

    Raises:
        RunError: the build failed; with the last lines of its output.
    """
    if any(plan.image in image.tags for image in client.images.list()):
        return
    print(f"building the image {plan.image} (once, some minutes)", file=sys.stderr, flush=True)
    try:
        arguments = {"BASE": plan.base} if plan.base else {}
        client.images.build(
            path=str(ROOT),
            tag=plan.image,
            target=plan.variant,
            rm=True,
            buildargs=arguments,
            network_mode=plan.network or None,
        )
    except docker.errors.BuildError as error:
        lines = [entry.get("stream", entry.get("error", "")).rstrip() for entry in error.build_log]
        for line in [line for line in lines if line][-LINES_OF_A_FAILED_BUILD:]:
            print(line, file=sys.stderr)
        raise RunError(f"the image could not be built ({error.msg}); the lines above say where") from None
    except docker.errors.APIError as error:
        raise RunError(f"the image could not be built ({error.explanation})") from None


def _user(environment: Mapping[str, str]) -> str:
    """Who runs in the container and owns what it writes: this user, also behind sudo."""
    own = {"SUDO_UID": os.getuid(), "SUDO_GID": os.getgid()}
    return ":".join(str(environment.get(name, number)) for name, number in own.items())


def run(client: docker.DockerClient, plan: Plan) -> int:
    """Run the container to its end and return its exit code; Ctrl-C and SIGTERM reach the program inside."""
    for path, mode in plan.mounts.items():
        if mode == "rw":  # else the engine makes it, and it belongs to root
            pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    requests = [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])] if plan.gpus else []
    settings: dict[str, Any] = {
        "volumes": {path: {"bind": path, "mode": mode} for path, mode in plan.mounts.items()},
        "working_dir": str(pathlib.Path.cwd()),
        "user": _user(os.environ),
        "environment": {"HOME": "/tmp"},
        "device_requests": requests,
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "init": True,
        "shm_size": SHARED_MEMORY,
    }
    if plan.network:
        settings["network_mode"] = plan.network
    try:
        container = client.containers.create(plan.image, plan.command, **settings)
    except docker.errors.APIError as error:
        raise RunError(f"the container could not be made ({error.explanation})") from None
    previous = {number: signal.signal(number, _forward(container)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        container.start()
        for part in container.logs(stream=True, follow=True):
            sys.stderr.buffer.write(part)
            sys.stderr.flush()
        return int(container.wait()["StatusCode"])
    except docker.errors.APIError as error:
        raise RunError(f"the container could not be run ({error.explanation})") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        container.remove(force=True)


def _forward(container: Any) -> Any:
    def forward(number: int, frame: object) -> None:
        container.kill(signal=number)

    return forward


def main(argv: Sequence[str]) -> None:
    """Build, run, and exit as the program in the container does."""
    dry = "--dry_run" in argv
    argv = [word for word in argv if word != "--dry_run"]
    try:
        if dry and not argv:
            raise UsageError("--dry_run shows the plan of a command: name a script behind it")
        if HELP & set(argv[:1]):
            print(USAGE)
            sys.exit(0)
        if dry:
            print(describe(plan_for(argv, _would_have_nvidia())))
            sys.exit(0)
        client = connect()
        plan = plan_for(argv, has_nvidia(client))
        build_image(client, plan)
        sys.exit(run(client, plan))
    except (UsageError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def describe(plan: Plan) -> str:
    """The plan as lines for a person."""
    mounts = [f"  {path} ({'read-only' if mode == 'ro' else 'written'})" for path, mode in plan.mounts.items()]
    lines = [f"image: {plan.image}", f"GPUs: {'all' if plan.gpus else 'none'}", "mounts:", *mounts]
    return "\n".join([*lines, f"command: {' '.join(plan.command)}"])


if __name__ == "__main__":
    main(sys.argv[1:])
