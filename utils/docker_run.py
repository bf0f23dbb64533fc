"""Runs a script in a container: `python -m secateur.utils.docker_run [-n N] [--device=…] [--dry_run] … SCRIPT [FLAGS]`.

The image is built from the Dockerfile, unless the engine has it. What the program inside writes belongs to this user.
"""

import os
import pathlib
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import docker

from secateur.utils.docker_plan import Plan, describe, plan_for
from secateur.utils.errors import RunError, UsageError
from secateur.utils.gpus import idle_gpus
from secateur.utils.launch import ROOT

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


if __name__ == "__main__":
    main(sys.argv[1:])
