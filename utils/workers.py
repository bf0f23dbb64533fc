"""Several workers on this machine: a process each, that meet through `TF_CONFIG`."""

import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from secateur.utils.errors import UsageError
from secateur.utils.streams import Tee

# What is left of the others when one has failed gets so long to end by itself.
GRACE_SECONDS = 20.0
LINES_OF_A_FAILED_WORKER = 5
PR_SET_PDEATHSIG = 1
# The variable that names the first worker's log; the others write to theirs and to nothing else.
LOG = "SECATEUR_LOG"


def run(script: pathlib.Path, arguments: Sequence[str], devices: Sequence[str]) -> int:
    """Start a worker for each device and wait for all; the exit code of the first that fails, else 0.

    What each says is kept in `workers/<time>_<process>/rank_<k>.log` in the folder of the runs; the first one writes to
    the terminal too. SIGTERM and Ctrl-C reach all of them.

    Args:
        devices: the value of CUDA_VISIBLE_DEVICES of each worker.

    Raises:
        UsageError: --log_dir without a folder.
    """
    folder = pathlib.Path(_log_dir(arguments)) / "workers" / f"{time.strftime('%Y%m%d-%H%M%S')}_{os.getpid()}"
    folder.mkdir(parents=True)
    print(f"the workers' logs: {folder}", file=sys.stderr, flush=True)
    logs = [folder / f"rank_{rank}.log" for rank in range(len(devices))]
    command = [sys.executable, "-m", "secateur.utils.launch", str(script), *arguments]
    places = enumerate(zip(environments(devices), logs, strict=True))
    processes = [_start(command, environment, log, rank == 0) for rank, (environment, log) in places]
    previous = {number: signal.signal(number, _to_all(processes)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return _wait(processes, logs)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start(command: list[str], environment: dict[str, str], log: pathlib.Path, on_terminal: bool) -> subprocess.Popen:
    if on_terminal:
        environment = os.environ | environment | {LOG: str(log)}
        return subprocess.Popen(command, env=environment, preexec_fn=_end_with_parent)
    with log.open("w") as file:
        environment = os.environ | environment
        return subprocess.Popen(command, env=environment, stdout=file, stderr=file, preexec_fn=_end_with_parent)


def keep_log() -> None:
    """In the first worker: write to the terminal and to its log."""
    path = os.environ.pop(LOG, "")
    if path:
        log = open(path, "w", buffering=1, encoding="utf-8")  # noqa: SIM115, until the process ends
        sys.stdout, sys.stderr = Tee(sys.stdout, log), Tee(sys.stderr, log)


def _end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when the launcher dies, even by kill -9: then it saves its state."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def environments(devices: Sequence[str]) -> list[dict[str, str]]:
    """What each worker's environment adds: who all are, who it is, its device, its share of the cores."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(len(devices))]
    threads = max(1, (os.cpu_count() or 1) // len(devices))
    found = []
    for rank, device in enumerate(devices):
        place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        found.append(
            {
                "TF_CONFIG": json.dumps(place),
                "LOCAL_RANK": str(rank),
                "CUDA_VISIBLE_DEVICES": device,
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "TF_NUM_INTRAOP_THREADS": str(threads),
            }
        )
    return found


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _log_dir(arguments: Sequence[str]) -> str:
    """The value of the script's --log_dir."""
    words = iter(arguments)
    for word in words:
        name, separator, value = word.partition("=")
        if name == "--log_dir":
            value = value if separator else next(words, "")
            if not value:
                raise UsageError("--log_dir: needs the folder of the runs behind it")
            return value
    return "./logs"


def _to_all(processes: Sequence[subprocess.Popen]) -> Callable[[int, Any], None]:
    def forward(number: int, frame: Any) -> None:
        for process in processes:
            process.send_signal(signal.SIGTERM)

    return forward


def _wait(processes: Sequence[subprocess.Popen], logs: Sequence[pathlib.Path]) -> int:
    """Wait until all have ended, or one has failed: then the others are ended too."""
    while True:
        codes = {rank: process.poll() for rank, process in enumerate(processes)}
        # One that was killed comes first: others that fail a moment later fail because of it.
        failed = sorted((code > 0, rank, code) for rank, code in codes.items() if code)
        if failed:
            _end(processes)
            for _, rank, code in failed:
                _report(rank, code, logs[rank])
            code = failed[0][2]
            return code if code > 0 else 128 - code
        if all(code == 0 for code in codes.values()):
            return 0
        time.sleep(0.2)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:  # it waits for the one that is gone
            process.kill()
            process.wait()


def _report(rank: int, code: int, log: pathlib.Path) -> None:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    print(f"worker {rank} {how}; the others were stopped: the same command goes on", file=sys.stderr, flush=True)
    if rank > 0:  # what the first one said was on the terminal
        for line in log.read_text(errors="replace").splitlines()[-LINES_OF_A_FAILED_WORKER:]:
            print(f"  worker {rank}: {line}", file=sys.stderr)
