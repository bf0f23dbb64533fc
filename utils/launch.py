"""Starts a run script on this machine: `python -m secateur.utils.launch [-n N] [--device=…] SCRIPT [FLAGS]`.

Only its own flags are read; everything else reaches the script as it was given. One worker runs in this process, so
signals and the exit code are the script's; for several, `utils.workers` starts a process for each.
"""

import os
import pathlib
import runpy
import sys
from collections.abc import Sequence
from typing import NamedTuple

from secateur.utils import cluster, gpus, workers
from secateur.utils.errors import RunError, UsageError
from secateur.utils.streams import import_quietly

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEVICES = ("auto", "cpu", "gpu")
# Of CUDA_VISIBLE_DEVICES: no GPU.
NO_GPU = "-1"
OWN_FLAGS = {"-n": "nb_gpus", "--nb_gpus": "nb_gpus", "--device": "device"}
USAGE = "usage: run_local.sh [-n N] [--device=auto|cpu|gpu] nets/<network>_at_<data>_run.py [flags of the script]"


class Launch(NamedTuple):
    """What to start: the script and its flags, on how many workers of which device."""

    script: pathlib.Path
    arguments: list[str]
    nb_gpus: int
    device: str


def parse(argv: Sequence[str]) -> Launch:
    """Take the launcher's own flags, `--flag=value` or `--flag value`, out of the command line.

    Raises:
        UsageError: no script, a script that is not there, or a bad value.
    """
    own = {"nb_gpus": "1", "device": "auto"}
    rest, words = [], iter(argv)
    for word in words:
        flag, separator, value = word.partition("=")
        if flag not in OWN_FLAGS:
            rest.append(word)
            continue
        own[OWN_FLAGS[flag]] = value if separator else next(words, "")
    if not rest:
        raise UsageError(f"no script given. {USAGE}")
    if own["device"] not in DEVICES:
        raise UsageError(f"--device={own['device']}: must be one of {', '.join(DEVICES)}")
    return Launch(_find(rest[0]), rest[1:], _positive(own["nb_gpus"]), own["device"])


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"-n={text}: must be a whole number, 1 or more")
    return int(text)


def _find(script: str) -> pathlib.Path:
    """The script, seen from the current folder or from the project's."""
    for folder in (pathlib.Path.cwd(), ROOT):
        if (folder / script).is_file():
            return folder / script
    raise UsageError(f"no script {script}. {USAGE}")


def choose_device(launch: Launch, idle: list[int] | None) -> tuple[str, str]:
    """The value of CUDA_VISIBLE_DEVICES and a line that says what it means.

    Raises:
        RunError: fewer idle GPUs than asked for.
    """
    if launch.device == "cpu":
        return NO_GPU, "running on the CPU"
    if idle is None and launch.device == "auto":
        if launch.nb_gpus > 1:
            raise UsageError(
                f"-n={launch.nb_gpus}: no nvidia-smi on this machine; workers on its CPU are started with --device=cpu"
            )
        return NO_GPU, "no nvidia-smi on this machine: running on the CPU"
    found = idle or []
    if len(found) < launch.nb_gpus:
        raise RunError(
            f"{launch.nb_gpus} GPU(s) wanted, {len(found)} idle (less than half of the memory in use): wait for one, "
            "or run on the CPU with --device=cpu"
        )
    chosen = ",".join(map(str, found[: launch.nb_gpus]))
    return chosen, f"running on GPU {chosen}"


def main(argv: Sequence[str]) -> None:
    """Choose the device and become the script, or start workers that do."""
    if {"-h", "--help"} & set(argv[:1]):
        print(USAGE)
        return
    try:
        launch = parse(argv)
        if "TF_CONFIG" in os.environ:  # a worker, whose device was chosen by what started it
            workers.keep_log()
        elif cluster.is_worker():
            os.environ |= cluster.worker_environment(os.environ)
            os.environ |= {"CUDA_VISIBLE_DEVICES": NO_GPU} if launch.device == "cpu" else {gpus.MARK: "1"}
        else:
            _start_here(launch)
    except (UsageError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    _become(launch)


def _start_here(launch: Launch) -> None:
    """Choose the device of this process; for several workers start them, and exit as they do."""
    visible, line = choose_device(launch, None if launch.device == "cpu" else gpus.idle_gpus())
    print(line, file=sys.stderr, flush=True)
    os.environ |= {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    os.environ[gpus.MARK] = "" if visible == NO_GPU else "1"
    if launch.nb_gpus > 1:
        devices = [NO_GPU] * launch.nb_gpus if visible == NO_GPU else visible.split(",")
        sys.exit(workers.run(launch.script, launch.arguments, devices))


def _become(launch: Launch) -> None:
    if "--verbose" not in launch.arguments:
        import_quietly()
    sys.argv = [str(launch.script), *launch.arguments]
    runpy.run_path(str(launch.script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
